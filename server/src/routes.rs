//! What the demo replica answers.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{Error, HttpRequest, HttpResponse, guard, rt, web};
use serde::{Deserialize, Serialize};

/// The longest delay of `/slow`.
const SLOWEST: Duration = Duration::from_secs(60);

/// `{"message": ..., "status": ...}`, the shape of every answer for people.
#[derive(Serialize)]
struct Answer {
    message: String,
    status: &'static str,
}

/// The id in this replica's answers, already shortened by [`display_id`].
#[derive(Clone)]
struct Id(String);

/// The id in answers: `3` for `Server3`, any other name as it is.
///
/// ```
/// use ringmaster_server::display_id;
///
/// assert_eq!(display_id("Server3"), "3");
/// assert_eq!(display_id("S4"), "S4");
/// ```
pub fn display_id(name: &str) -> String {
    match name.strip_prefix("Server") {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => name,
    }
    .to_owned()
}

/// Adds the demo replica's routes to an application. `id` appears in the answers as it is.
pub fn configure(app: &mut web::ServiceConfig, id: &str) {
    // Guards on the resource, not on its route: a method that fits none is a 404 like
    // any other unknown request, where a route's guard would make it a 405.
    let reads = || guard::Any(guard::Get()).or(guard::Head());
    let uploads = || guard::Any(guard::Post()).or(guard::Put());
    app.app_data(web::Data::new(Id(id.to_owned())))
        .service(web::resource("/home").guard(reads()).to(home))
        .service(web::resource("/heartbeat").guard(reads()).to(heartbeat))
        .service(web::resource("/slow").guard(reads()).to(slow))
        .service(web::resource("/echo").guard(uploads()).to(echo))
        .service(web::resource("/whoami").to(whoami))
        .default_service(web::to(not_found));
}

async fn home(id: web::Data<Id>) -> HttpResponse {
    HttpResponse::Ok().json(Answer {
        message: format!("Hello from Server: {}", id.0),
        status: "successful",
    })
}

async fn heartbeat() -> HttpResponse {
    HttpResponse::Ok().finish()
}

#[derive(Deserialize)]
struct Slowness {
    ms: u64,
}

async fn slow(slowness: web::Query<Slowness>, id: web::Data<Id>) -> HttpResponse {
    rt::time::sleep(Duration::from_millis(slowness.ms).min(SLOWEST)).await;
    home(id).await
}

/// Sends the body back as it comes in, with its type and, where announced, its length.
async fn echo(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let header = |name| request.headers().get(name);
    let mut response = HttpResponse::Ok();
    if let Some(kind) = header(CONTENT_TYPE) {
        response.insert_header((CONTENT_TYPE, kind.clone()));
    }
    let length = header(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok());
    Ok(match length {
        Some(length) => response.body(SizedStream::new(length, body)),
        None => response.streaming(body),
    })
}

/// The request as received.
#[derive(Serialize)]
struct WhoAmI<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    /// Every value of every header; a name can come more than once.
    headers: BTreeMap<&'a str, Vec<String>>,
}

async fn whoami(request: HttpRequest, id: web::Data<Id>) -> HttpResponse {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    HttpResponse::Ok().json(WhoAmI {
        id: &id.0,
        method: request.method().as_str(),
        // The URI's own text: `path()` would be the decoded one.
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers,
    })
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    HttpResponse::NotFound().json(Answer {
        message: format!(
            "<Error> no such endpoint: {} {}",
            request.method(),
            request.uri().path()
        ),
        status: "failure",
    })
}

#[cfg(test)]
mod tests {
    use actix_web::dev::ServiceResponse;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, http::Method};
    use serde_json::{Value, json};

    use super::*;

    fn ask(request: TestRequest) -> (StatusCode, Option<String>, Vec<u8>) {
        rt::System::new().block_on(async {
            let app = init_service(App::new().configure(|app| configure(app, "3"))).await;
            let response: ServiceResponse = call_service(&app, request.to_request()).await;
            let status = response.status();
            let kind = response.headers().get(CONTENT_TYPE).cloned();
            let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
            (status, kind, read_body(response).await.to_vec())
        })
    }

    fn ask_json(request: TestRequest) -> (StatusCode, Value) {
        let (status, kind, body) = ask(request);
        assert_eq!(kind.as_deref(), Some("application/json"));
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn an_id_is_the_number_of_a_numbered_server_or_the_name() {
        for (name, id) in [
            ("Server3", "3"),
            ("Server12", "12"),
            ("Server", "Server"),
            ("Server3b", "Server3b"),
            ("server3", "server3"),
            ("S4", "S4"),
            ("7", "7"),
        ] {
            assert_eq!(display_id(name), id);
        }
    }

    #[test]
    fn home_greets_to_the_letter() {
        let (status, kind, body) = ask(TestRequest::get().uri("/home"));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(kind.as_deref(), Some("application/json"));
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"message":"Hello from Server: 3","status":"successful"}"#
        );
    }

    #[test]
    fn a_heartbeat_is_empty() {
        let (status, _, body) = ask(TestRequest::get().uri("/heartbeat"));
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
    }

    #[test]
    fn anything_else_is_not_found() {
        for request in [
            TestRequest::get().uri("/nowhere"),
            TestRequest::post().uri("/home"),
            TestRequest::delete().uri("/heartbeat"),
            TestRequest::get().uri("/echo"),
        ] {
            let (status, body) = ask_json(request);
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert_eq!(body["status"], "failure");
        }
    }

    #[test]
    fn echo_sends_back_body_and_type() {
        for method in [Method::POST, Method::PUT] {
            let request = TestRequest::default()
                .method(method)
                .uri("/echo")
                .insert_header((CONTENT_TYPE, "text/x-poem"))
                .set_payload("so much depends");
            let (status, kind, body) = ask(request);
            assert_eq!(status, StatusCode::OK);
            assert_eq!(kind.as_deref(), Some("text/x-poem"));
            assert_eq!(body, b"so much depends");
        }
    }

    #[test]
    fn slow_answers_like_home() {
        let (status, body) = ask_json(TestRequest::get().uri("/slow?ms=1"));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["message"], "Hello from Server: 3");
    }

    #[test]
    fn whoami_shows_the_request_undecoded() {
        let request = TestRequest::patch()
            .uri("/whoami?a=%20b&c")
            .append_header(("x-many", "1"))
            .append_header(("x-many", "2"));
        let (status, body) = ask_json(request);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            json!({
                "id": "3", "method": "PATCH", "path": "/whoami", "query": "a=%20b&c",
                "headers": {"x-many": ["1", "2"]}
            })
        );
    }
}
