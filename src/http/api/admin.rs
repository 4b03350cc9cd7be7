//! The admin listener (`--admin`): an application of actix-web's, on a server of its own.
//!
//! It has an address of its own, so that none of its paths can be mistaken for one of the
//! replicas'. Every call passes the middleware in [`super::middleware`]; paths that are open to
//! anyone are in [`open`], all others in [`guarded`].

use actix_web::guard::{self, Guard};
use actix_web::http::header::LOCATION;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use super::error::ApiError;
use super::extract::{path_config, query_config};
use super::handles::AdminHandles;
use super::{
    client_calls, dashboard, docs_page, drills, fleet_patch, fleet_replicas, fleets, health,
    history, keys, maintenance, metrics, middleware, openapi, pause, problem_page, rebalance,
    restart, ring, rollouts, session,
};
use crate::http::server::Site;

/// What the admin listener serves.
pub fn admin_site(handles: AdminHandles) -> Site {
    Site::configured(|app| configure(app, handles))
}

/// The admin listener's application.
pub fn configure(app: &mut ServiceConfig, handles: AdminHandles) {
    app.app_data(Data::new(handles))
        .app_data(query_config())
        .app_data(path_config());
    let all = web::scope("")
        .wrap(from_fn(middleware::guard_pages))
        .wrap(from_fn(middleware::delay_failed_logins))
        .wrap(from_fn(middleware::log_calls))
        .configure(open)
        .service(
            web::scope("")
                .wrap(from_fn(middleware::authorize))
                .configure(guarded)
                .default_service(web::to(unknown_path)),
        );
    app.service(all);
}

/// What needs no right, or finds out which there is.
fn open(app: &mut ServiceConfig) {
    app.service(resource("/healthz", "GET, HEAD").route(read().to(health::healthz)))
        .service(resource("/readyz", "GET, HEAD").route(read().to(health::readyz)))
        .service(
            resource("/api/v1/session", "GET, HEAD, POST, DELETE")
                .route(read().to(session::get))
                .route(web::post().to(session::begin))
                .route(web::delete().to(session::end)),
        )
        .service(
            resource("/api/problems/{type}", "GET, HEAD").route(read().to(problem_page::explain)),
        )
        // The same for every balancer of a release.
        .service(resource("/api/openapi.json", "GET, HEAD").route(read().to(openapi::openapi)))
        .service(resource("/api/docs", "GET, HEAD").route(read().to(docs_page::page)))
        .service(resource("/api/docs/{file}", "GET, HEAD").route(read().to(docs_page::file)))
        .service(resource("/", "GET, HEAD").route(read().to(dashboard::page)))
        .service(resource("/dashboard/{file}", "GET, HEAD").route(read().to(dashboard::file)));
}

/// What needs the right to read, or to change.
fn guarded(app: &mut ServiceConfig) {
    const FLEET: &str = "/api/v1/fleets/{fleet}";
    let fleet = |path: &str| format!("{FLEET}{path}");
    let reads = |path: &str| resource(path, "GET, HEAD");
    app.service(reads("/api/v1/version").route(read().to(health::version)))
        .service(reads("/api/v1/status").route(read().to(fleets::status)))
        .service(reads("/metrics").route(read().to(metrics::metrics)))
        .service(reads("/api/v1/events").route(read().to(history::events)))
        .service(reads("/api/v1/fleets").route(read().to(fleets::list)))
        .service(
            resource(FLEET, "GET, HEAD, PATCH")
                .route(read().to(fleets::get))
                .route(web::patch().to(fleet_patch::patch)),
        )
        .service(
            resource(&fleet("/maintenance"), "PUT, DELETE")
                .route(web::put().to(maintenance::begin))
                .route(web::delete().to(maintenance::end)),
        )
        .service(resource(&fleet("/pause"), "POST").route(web::post().to(pause::pause)))
        .service(resource(&fleet("/resume"), "POST").route(web::post().to(pause::resume)))
        .service(resource(&fleet("/rebalance"), "POST").route(web::post().to(rebalance::rebalance)))
        .service(reads(&fleet("/deaths")).route(read().to(history::deaths)))
        .service(reads(&fleet("/heartbeats")).route(read().to(history::heartbeats)))
        .service(reads(&fleet("/keys/{key:.*}")).route(read().to(keys::explain)))
        .service(
            resource(&fleet("/ring"), "GET, HEAD, PATCH")
                .route(read().to(ring::get))
                .route(web::patch().to(ring::patch)),
        )
        .service(
            resource(&fleet("/replicas"), "GET, HEAD, POST")
                .route(read().to(fleet_replicas::list))
                .route(web::post().to(fleet_replicas::add)),
        )
        .service(
            resource(&fleet("/replicas/{name}"), "GET, HEAD, PATCH, DELETE")
                .route(read().to(fleet_replicas::get))
                .route(web::patch().to(fleet_replicas::patch))
                .route(web::delete().to(fleet_replicas::remove)),
        )
        .service(
            resource(&fleet("/drills"), "GET, HEAD, POST")
                .route(read().to(drills::list))
                .route(web::post().to(drills::start)),
        )
        .service(reads(&fleet("/drills/{id}")).route(read().to(drills::get)))
        .service(
            resource(&fleet("/rollouts"), "GET, HEAD, POST")
                .route(read().to(rollouts::list))
                .route(web::post().to(rollouts::start)),
        )
        .service(reads(&fleet("/rollouts/{id}")).route(read().to(rollouts::get)))
        .service(
            resource(&fleet("/rollouts/{id}/pause"), "POST").route(web::post().to(rollouts::pause)),
        )
        .service(
            resource(&fleet("/rollouts/{id}/resume"), "POST")
                .route(web::post().to(rollouts::resume)),
        )
        .service(
            resource(&fleet("/rollouts/{id}/promote"), "POST")
                .route(web::post().to(rollouts::promote)),
        )
        .service(
            resource(&fleet("/rollouts/{id}/undo"), "POST").route(web::post().to(rollouts::undo)),
        )
        .service(
            resource(&fleet("/replicas/{name}/restart"), "POST")
                .route(web::post().to(restart::restart)),
        );
    for path in ["/rep", "/add", "/rm"] {
        app.route(path, web::to(client_calls::on_admin));
    }
    for (path, successor) in [
        ("/status", "/api/v1/status"),
        ("/deaths", "/api/v1/fleets/default/deaths"),
        ("/ring", "/api/v1/fleets/default/ring"),
    ] {
        app.route(path, web::to(move |request| moved(request, successor)));
    }
}

/// A resource that says which methods it has.
fn resource(path: &str, methods: &'static str) -> Resource {
    let refuse = move || async move { Err::<HttpResponse, _>(ApiError::WrongMethod(methods)) };
    web::resource(path).default_service(web::to(refuse))
}

/// A route that changes nothing.
fn read() -> Route {
    web::route().guard(guard::fn_guard(|context| {
        guard::Get().check(context) || guard::Head().check(context)
    }))
}

/// Where a call of earlier releases is now, with the same method and query.
async fn moved(request: HttpRequest, successor: &'static str) -> HttpResponse {
    let query = match request.query_string() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, format!("{successor}{query}")))
        .finish()
}

async fn unknown_path() -> Result<HttpResponse, ApiError> {
    Err(ApiError::UnknownPath)
}
