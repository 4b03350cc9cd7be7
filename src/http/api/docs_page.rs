//! `GET /api/docs`: the description of the API for people, by Swagger UI, whose files are compiled in.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use super::dashboard::respond;
use super::error::ApiError;

/// As the dashboard's, but that Swagger UI sets styles on elements and has pictures within its CSS.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r##"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ringmaster's admin API</title>
<link rel="icon" href="/dashboard/icon.svg">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<div id="docs"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</html>
"##;

/// No validator: that would be a request elsewhere.
const START: &str = r##"SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
});
"##;

/// The page.
pub async fn page(request: HttpRequest) -> HttpResponse {
    respond(&request, "index.html", PAGE.as_bytes(), POLICY)
}

/// A file of the page.
pub async fn file(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let bytes = match name.as_str() {
        "start.js" => START.as_bytes(),
        "swagger-ui-bundle.js" => asset(SwaggerUiStaticFile::Js)?,
        "swagger-ui.css" => asset(SwaggerUiStaticFile::Css)?,
        _ => return Err(ApiError::UnknownPath),
    };
    Ok(respond(&request, &name, bytes, POLICY))
}

fn asset(wanted: SwaggerUiStaticFile) -> Result<&'static [u8], ApiError> {
    let mut files = SwaggerUi::static_files().iter();
    let found = files.find(|(file, _)| *file == wanted);
    found.map(|(_, bytes)| *bytes).ok_or(ApiError::UnknownPath)
}
