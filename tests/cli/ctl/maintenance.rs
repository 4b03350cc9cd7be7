//! `ctl maintenance`.

use ringmaster::api::FleetStatus;

use super::{failure, json, run, start, text};
use crate::support::get;

#[actix_web::test]
async fn maintenance_begins_with_a_page_and_ends() {
    let balancer = start().await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html").display().to_string();
    std::fs::write(&page, "<h1>Soon</h1>").unwrap();
    let on = ["maintenance", "on", "--page", &page, "--retry-after", "2m"];
    let said = text(&balancer, &on).await;
    assert!(
        said.contains("a page of 13 bytes, and Retry-After: 120"),
        "{said}"
    );
    assert_eq!(get(&balancer.url("/home")).await.status, 503);
    let status = text(&balancer, &["status"]).await;
    assert!(status.contains("Maintenance"), "{status}");
    let over: FleetStatus = json(&balancer, &["maintenance", "off"]).await;
    assert_eq!(over.maintenance, None);
    assert_eq!(get(&balancer.url("/home")).await.status, 200);
    let nowhere = ["maintenance", "on", "--page", "/nowhere.html"];
    let error = failure(&run(&balancer, &nowhere).await);
    assert!(error.contains("cannot read /nowhere.html"), "{error}");
}
