//! The admin listener's application through `actix_web::test`, without sockets: its routes, its
//! description, its problems. What it does to replicas is tested over sockets (`tests/api`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use actix_http::Request;
use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{ALLOW, CONTENT_TYPE};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service};
use serde_json::Value;

use super::admin::configure;
use super::handles::AdminHandles;
use super::openapi::document;
use super::problem_kind::ProblemKind;
use super::tokens::AdminTokens;
use crate::actors::heartbeat_prober::{HeartbeatProber, ProbeRecipients, ProberHandle};
use crate::actors::lifeline::{Lifeline, LifelineWatch};
use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::{RingHandle, RingState};
use crate::actors::supervisor::{Supervisor, SupervisorHandle};
use crate::api::{AdminRight, Timestamp};
use crate::cli::{Invocation, parse};
use crate::fleet::Policy;
use crate::runtime::record::{NoStore, OpeningRecord};
use crate::runtime::static_servers::StaticRuntime;
use crate::upstream::{ConcurrencyLimit, Stats};

/// The actors of a static fleet, whose servers are not watched, and how the application asks them.
async fn handles() -> (AdminHandles, LifelineWatch) {
    let args = ["ringmaster", "--upstream", "127.0.0.1:9"];
    let parsed = parse(args.iter().map(Into::into), std::iter::empty());
    let Ok(Invocation::Balance { settings, .. }) = parsed else {
        panic!("{parsed:?}");
    };
    let (line, lifeline) = Lifeline::new();
    let stats = Arc::new(Stats::new(1));
    let ring = RingState::new(
        settings.ring,
        settings.balance_factor,
        settings.health.ejection_policy(),
        Duration::ZERO,
        settings.health.panic_threshold,
        ConcurrencyLimit::new(None),
        line.of("ring state"),
    );
    let ring = RingHandle::new(ring.unwrap().start());
    let flags = settings.fleet_flags();
    let record = OpeningRecord::load(&NoStore, &flags, false).await.unwrap();
    let record = record.settle(Box::new(NoStore), &flags, &[]).await.unwrap();
    let policy = Policy {
        start_timeout: settings.health.start_timeout,
        stop_grace: settings.limits.stop_grace,
        hang_timeout: settings.health.hang_timeout,
        unready_timeout: settings.health.unready_timeout,
        restart_limit: settings.health.restart_limit(),
        rollout: settings.rollouts.policy(),
        spawns: false,
        continues_names: false,
        names_have_generations: false,
        balancer: "here",
    };
    let supervisor = Supervisor::new(
        policy,
        Rc::new(record.ok().unwrap()),
        Vec::new(),
        Rc::new(StaticRuntime::new(Vec::new(), Duration::ZERO)),
        ring.clone(),
        Duration::ZERO,
        line.of("supervisor"),
    );
    let supervisor = supervisor.start();
    let prober = HeartbeatProber::new(
        settings.health.heartbeat.clone(),
        ProbeRecipients::all_of(&supervisor),
        line.of("heartbeat prober"),
    )
    .start();
    let mut tokens = AdminTokens::default();
    tokens.add(AdminRight::Admin, "changer").unwrap();
    let handles = AdminHandles {
        guard: Default::default(),
        tokens,
        sessions: Arc::default(),
        prober: ProberHandle::new(prober),
        supervisor: SupervisorHandle::new(supervisor),
        ring,
        queue: QueueLimit::new(1),
        tally: stats,
        metrics: Arc::default(),
        drills: Arc::default(),
        idempotent_calls: Arc::default(),
        started_at: Timestamp::now(),
        key_source: Arc::default(),
        sticky_cookie: None,
        max_connections: 1,
        max_in_flight: None,
        body_timeout: Duration::from_secs(1),
    };
    (handles, lifeline)
}

async fn application() -> (
    impl Service<Request, Response = ServiceResponse, Error = actix_web::Error>,
    LifelineWatch,
) {
    let (handles, lifeline) = handles().await;
    let app = App::new().configure(|app| configure(app, handles));
    (init_service(app).await, lifeline)
}

/// A call with the right to change.
async fn call(
    app: &impl Service<Request, Response = ServiceResponse, Error = actix_web::Error>,
    method: Method,
    path: &str,
) -> ServiceResponse {
    let request = TestRequest::with_uri(path).method(method);
    let request = request.insert_header(("authorization", "Bearer changer"));
    // What middleware refuses is an error here, and a response on a socket.
    match app.call(request.to_request()).await {
        Ok(response) => response,
        Err(error) => {
            let request = TestRequest::with_uri(path).to_http_request();
            ServiceResponse::from_err(error, request)
        }
    }
}

/// Served, but no part of the API: the page, files of pages, and calls of the first release.
const NOT_DESCRIBED: &[&str] = &[
    "/",
    "/dashboard/{file}",
    "/api/docs",
    "/api/docs/{file}",
    "/rep",
    "/add",
    "/rm",
    "/status",
    "/deaths",
    "/ring",
];

/// The patterns of an application's routes, which it shows by its `Debug` alone.
fn routes(response: &ServiceResponse) -> BTreeSet<String> {
    let map = format!("{:?}", response.request().resource_map());
    let patterns = map.split("Single(\"").skip(1);
    let patterns = patterns.filter_map(|rest| rest.split('"').next());
    let patterns = patterns.filter(|pattern| !pattern.is_empty());
    patterns
        .map(|pattern| pattern.replace(":.*}", "}"))
        .collect()
}

#[actix_web::test]
async fn every_route_and_method_is_described_and_nothing_else() {
    let (app, _lifeline) = application().await;
    let mut routes = routes(&call(&app, Method::GET, "/healthz").await);
    assert!(routes.len() > NOT_DESCRIBED.len(), "{routes:?}");
    for path in NOT_DESCRIBED {
        assert!(routes.remove(*path), "{path} is no route: {routes:?}");
    }
    let described: BTreeMap<String, BTreeSet<String>> = described();
    let paths: BTreeSet<String> = described.keys().cloned().collect();
    assert_eq!(routes, paths);
    for (path, methods) in described {
        let path = path.replace("{fleet}", "default").replace(['{', '}'], "");
        let refused = call(&app, Method::TRACE, &path).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers().get(ALLOW).unwrap().to_str().unwrap();
        let allowed = allowed.split(", ").map(str::to_lowercase);
        // HEAD is what GET is.
        let allowed: BTreeSet<_> = allowed.filter(|method| method != "head").collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// Each path of the description, with its methods.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document = serde_json::to_value(document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    paths
        .iter()
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

#[actix_web::test]
async fn every_problem_has_a_page_that_needs_no_token() {
    let (app, _lifeline) = application().await;
    for kind in ProblemKind::ALL {
        let request = TestRequest::with_uri(&kind.path()).to_request();
        let response = app.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
        let page = to_bytes(response.into_body()).await.ok().unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let status = format!("Status: {}", kind.status());
        for part in [kind.slug(), kind.title(), &status] {
            assert!(page.contains(part), "{page}");
        }
    }
    let unknown = call(&app, Method::GET, "/api/problems/none").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn documentation_comes_with_all_that_it_needs() {
    let (app, _lifeline) = application().await;
    let page = call(&app, Method::GET, "/api/docs").await;
    let page = to_bytes(page.into_body()).await.ok().unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let mut files = 0;
    for rest in page.split("=\"/").skip(1) {
        let path = format!("/{}", rest.split('"').next().unwrap());
        let file = call(&app, Method::GET, &path).await;
        assert_eq!(file.status(), StatusCode::OK, "{path}");
        files += 1;
    }
    assert_eq!(files, 4, "{page}");
    assert!(
        !page.contains("http:") && !page.contains("https:"),
        "{page}"
    );
}

#[actix_web::test]
async fn what_is_refused_is_a_problem() {
    let (app, _lifeline) = application().await;
    for (method, path, status) in [
        (Method::GET, "/nothing", 404),
        (Method::GET, "/api/docs/nothing", 404),
        (Method::GET, "/api/v1/fleets/other", 404),
        (Method::GET, "/api/v1/fleets/default/replicas/%ff", 404),
        (Method::POST, "/api/v1/status", 405),
        (Method::POST, "/api/v1/fleets/default/replicas", 415),
        (Method::GET, "/api/v1/events?limit=0", 400),
        (Method::GET, "/api/v1/events?after=-1", 400),
        (Method::GET, "/api/v1/events?after=9223372036854775808", 400),
        (Method::GET, "/api/v1/fleets?limit=1001", 400),
        (Method::GET, "/api/v1/fleets?limit=many", 400),
        (Method::GET, "/api/v1/fleets/default/replicas?limit=-1", 400),
        (Method::GET, "/api/v1/fleets/default/deaths?most=3", 400),
        (Method::GET, "/api/v1/fleets/default/ring?samples=5000", 400),
    ] {
        let response = call(&app, method.clone(), path).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let content_type = response.headers().get(CONTENT_TYPE).unwrap();
        assert_eq!(content_type, "application/problem+json", "{path}");
        let body = to_bytes(response.into_body()).await.ok().unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], status, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        let parameter = path.split(['?', '=']).nth(1).unwrap_or_default();
        assert!(
            !detail.is_empty() && detail.contains(parameter),
            "{path}: {detail}"
        );
    }
}
