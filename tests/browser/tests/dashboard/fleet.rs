//! What the page shows of a fleet.

use crate::balancer::{balancer, signal};
use crate::browser::{browser, row};

/// Whether each replica's strip has good heartbeats.
const STRIPS: &str = "return [...document.querySelectorAll('.strip')].every((strip) =>
    strip.querySelector('.good').getAttribute('d'))";

#[tokio::test]
async fn dashboard_of_a_healthy_fleet_shows_ring_replicas_and_events() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.until("#freshness", |text| text == "live").await;
    browser
        .until("#ring-legend", |text| text.contains("Server3"))
        .await;
    let paths = browser
        .script("return document.querySelectorAll('#ring-arcs path').length")
        .await;
    assert_eq!(paths, 3);
    browser
        .until("#event-list", |text| text.contains("ready"))
        .await;
    browser.until_true(STRIPS).await;
    browser.screenshot("dashboard.png").await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn replica_that_is_killed_is_shown_evicted_and_healed() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    signal(&browser.script(PID).await.to_string(), "KILL");
    browser
        .until("#event-list", |text| text.contains("Server2 evicted"))
        .await;
    let generation = format!("{} .generation", row("Server2"));
    browser.until(&generation, |text| text.ends_with('2')).await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser
        .until("#death-list", |text| text.contains("Server2 generation 1"))
        .await;
    browser.close(&[]).await;
}

/// The process of Server2.
const PID: &str = "return fetch('/api/v1/status').then((answer) => answer.json()).then((status) =>
    status.fleets[0].replicas.find((replica) => replica.name === 'Server2').pid)";

#[tokio::test]
async fn missed_heartbeats_are_shown_after_a_reload_too() {
    let (_balancer, url) = balancer(&["--replicas", "2", "--hang-timeout", "1h"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    let pid = browser.script(PID).await.to_string();
    signal(&pid, "STOP");
    browser
        .until(&format!("{} .chip", row("Server2")), |text| text == "hung")
        .await;
    signal(&pid, "CONT");
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser.client.refresh().await.unwrap();
    let missed = format!(
        "return Boolean(document.querySelector(\"{} .strip .bad\")?.getAttribute('d'))",
        row("Server2")
    );
    browser.until_true(&missed).await;
    let label = format!(
        "return document.querySelector(\"{} .strip\").getAttribute('aria-label')",
        row("Server2")
    );
    let label = browser.script(&label).await;
    assert!(!label.as_str().unwrap().contains(" 0 missed"), "{label}");
    browser.close(&[]).await;
}

#[tokio::test]
async fn balancer_that_hangs_is_shown_as_stale_until_it_answers() {
    let (balancer, url) = balancer(&["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    // All of the ring is its one replica's.
    browser
        .until_true("return document.querySelector('#ring-arcs path')?.getBBox().width > 300")
        .await;
    balancer.signal("STOP");
    browser
        .until("#freshness", |text| text.contains("what you see is old"))
        .await;
    balancer.signal("CONT");
    browser.until("#freshness", |text| text == "live").await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn key_that_is_typed_shows_its_slot_and_its_order() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.fill("#key", "cart-9").await;
    browser.click("#explain button").await;
    let text = browser
        .until("#explanation", |text| text.contains("serves it now"))
        .await;
    assert_eq!(text.matches("Server").count(), 4, "{text}");
    let pointers = browser
        .script("return document.querySelectorAll('#ring-key .pointer').length")
        .await;
    assert_eq!(pointers, 1);
    browser.close(&[]).await;
}
