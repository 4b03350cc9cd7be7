//! Changes by `ringmaster ctl` beside those of others, and answers that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use awc::http::{Method, StatusCode};
use ringmaster::api::AddedReplicas;
use serde_json::json;

use super::{ctl, failure, start};
use crate::support::{Reply, Ringmaster, ask, ask_with, get};

/// What happens between the client and the balancer.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// Somebody else changes the fleet before so many `PATCH`es of the client's.
    Changes(usize),
    /// The answer to the first `POST` is lost.
    LostAnswer,
}

struct Between {
    balancer: String,
    trouble: Trouble,
    calls: AtomicUsize,
}

/// The URL of a server before a balancer's admin listener, and what it has seen.
async fn between(balancer: &Ringmaster, trouble: Trouble) -> (String, Arc<Between>) {
    let state = Arc::new(Between {
        balancer: balancer.admin_url().await,
        trouble,
        calls: AtomicUsize::new(0),
    });
    let data = Data::from(Arc::clone(&state));
    let server = HttpServer::new(move || {
        let app = App::new().app_data(data.clone());
        app.default_service(web::to(forward))
    });
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    (url, state)
}

async fn forward(between: Data<Between>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let url = format!("{}{}", between.balancer, request.uri());
    let is_change = *request.method() != Method::GET;
    let calls = match is_change {
        true => between.calls.fetch_add(1, Ordering::Relaxed) + 1,
        false => 0,
    };
    if let Trouble::Changes(times) = between.trouble
        && (1..=times).contains(&calls)
    {
        let ring = format!("{}/api/v1/fleets/default/ring", between.balancer);
        let factor = json!({"balance_factor": calls + 5});
        let changed = ask(Method::PATCH, &ring, Some(factor)).await;
        assert_eq!(changed.status, StatusCode::OK);
    }
    let headers = ["if-match", "idempotency-key"].map(|name| {
        let value = request.headers().get(name);
        value.map(|value| (name, value.to_str().unwrap()))
    });
    let headers: Vec<_> = headers.into_iter().flatten().collect();
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap();
    let body = serde_json::from_slice(&body).ok();
    let reply: Reply = ask_with(method, &url, &headers, body).await;
    let status = actix_web::http::StatusCode::from_u16(reply.status.as_u16()).unwrap();
    let mut response = HttpResponse::build(status);
    for name in ["etag", "content-type"] {
        response.insert_header((name, reply.header(name)));
    }
    if between.trouble == Trouble::LostAnswer && calls == 1 {
        let broken = Err::<Bytes, _>(actix_web::error::ErrorBadGateway("broken"));
        return response.streaming(futures::stream::iter([broken]));
    }
    response.body(reply.body.to_string())
}

#[actix_web::test]
async fn change_meanwhile_is_seen_and_the_call_made_once_more() {
    let balancer = start().await;
    for args in [
        &["weight", "Server1", "3"][..],
        &["scale", "2", "--yes"],
        &["ring", "--strategy", "maglev"],
        &["key", "path"],
    ] {
        let (url, state) = between(&balancer, Trouble::Changes(1)).await;
        let output = ctl(&[&["--admin", url.as_str()], args].concat())
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("has been changed meanwhile by another call: it is read again"),
            "{said}"
        );
        assert_eq!(state.calls.load(Ordering::Relaxed), 2, "{args:?}");
    }
    let fleet = get(&balancer.status_url().await).await.body;
    assert_eq!(fleet["desired_replicas"], 2, "{fleet}");
    assert_eq!(fleet["ring"]["strategy"], "maglev");
    assert_eq!(fleet["key"], "path");

    let (url, _) = between(&balancer, Trouble::Changes(2)).await;
    let args = ["--admin", url.as_str(), "ring", "--strategy", "ring"];
    let output = ctl(&args).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("(412); that was the second time: this call has changed nothing"),
        "{said}"
    );
    let fleet = get(&balancer.status_url().await).await.body;
    assert_eq!(fleet["ring"]["strategy"], "maglev", "{fleet}");
}

#[actix_web::test]
async fn addition_whose_answer_is_lost_is_made_once() {
    let balancer = start().await;
    let (url, state) = between(&balancer, Trouble::LostAnswer).await;
    let args = ["--admin", url.as_str(), "add", "--count", "2", "--json"];
    let output = ctl(&args).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let added: AddedReplicas = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((added.added.len(), added.replicas.len()), (2, 5));
    assert_eq!(state.calls.load(Ordering::Relaxed), 2);
    assert_eq!(balancer.replicas().await.len(), 5);
    // A refusal is an answer.
    let args = ["--admin", url.as_str(), "add", "Server1"];
    let said = failure(&ctl(&args).output().await.unwrap());
    assert!(said.contains("409"), "{said}");
}
