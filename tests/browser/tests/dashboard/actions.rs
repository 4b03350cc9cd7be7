//! What the buttons do.

use crate::balancer::balancer;
use crate::browser::{browser, row};

#[tokio::test]
async fn buttons_add_weigh_and_remove_replicas() {
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;

    browser.click("#add").await;
    browser
        .until(".effect", |text| text.contains("33.3 %"))
        .await;
    browser.fill("#names", "Extra").await;
    browser.click("#confirm").await;
    browser
        .until(&format!("{} .chip", row("Extra")), |text| text == "ready")
        .await;

    browser.click("[aria-label='Weight Extra']").await;
    browser.fill("#weight", "2").await;
    browser
        .until(".effect", |text| text.contains("Extra goes from 33"))
        .await;
    browser.click("#confirm").await;
    browser
        .until(&format!("{} .weight", row("Extra")), |text| text == "2")
        .await;
    browser
        .until(&format!("{} .share", row("Extra")), |text| {
            text.starts_with("50")
        })
        .await;

    browser.click("[aria-label='Remove Extra']").await;
    browser
        .until(".effect", |text| text.contains("move to the others"))
        .await;
    browser.click("#confirm").await;
    browser
        .until("#replica-rows", |text| !text.contains("Extra"))
        .await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn buttons_drain_undrain_and_restart_a_replica() {
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    let state = format!("{} .chip", row("Server2"));

    browser.click("[aria-label='Drain Server2']").await;
    browser
        .until(".effect", |text| text.contains("50.0 % of all"))
        .await;
    browser.click("#confirm").await;
    browser.until(&state, |text| text == "drained").await;
    browser
        .until("#verdict", |text| text.contains("1 drained"))
        .await;

    browser.click("[aria-label='Undrain Server2']").await;
    browser
        .until(".effect", |text| text.contains("come back to it"))
        .await;
    browser.click("#confirm").await;
    browser.until(&state, |text| text == "ready").await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;

    browser.click("[aria-label='Restart Server2']").await;
    browser
        .until(".effect", |text| text.contains("finishes the 0 requests"))
        .await;
    browser.click("#now").await;
    browser
        .until(".effect", |text| text.contains("stopped at once"))
        .await;
    browser.click("#confirm").await;
    let generation = format!("{} .generation", row("Server2"));
    browser.until(&generation, |text| text == "2").await;
    browser.until(&state, |text| text == "ready").await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn button_starts_a_drill_that_is_healed() {
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.click("[aria-label='Drill Server1']").await;
    browser
        .until(".effect", |text| text.starts_with("It is killed"))
        .await;
    browser.click("#confirm").await;
    browser
        .until("#event-list", |text| text.contains("Server1 evicted"))
        .await;
    let generation = format!("{} .generation", row("Server1"));
    browser.until(&generation, |text| text == "2").await;
    browser
        .until_true("return !document.getElementById('dialog').open")
        .await;

    browser.click("[aria-label='Drill Server2']").await;
    browser.choose("#fault", "Pause").await;
    browser
        .until(".effect", |text| text.contains("heartbeats find out"))
        .await;
    // Three heartbeats of a second each find it out.
    browser.fill("#seconds", "10").await;
    browser.click("#confirm").await;
    browser
        .until(&format!("{} .chip", row("Server2")), |text| text == "hung")
        .await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser
        .until_true("return !document.getElementById('dialog').open")
        .await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn button_scales_the_fleet() {
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.click("#scale").await;
    browser
        .until(".effect", |text| text == "No key moves.")
        .await;
    browser.fill("#desired", "3").await;
    browser
        .until(".effect", |text| text.contains("33.3 %"))
        .await;
    browser.click("#confirm").await;
    browser
        .until("#verdict", |text| text.starts_with("All is well: 3 of 3"))
        .await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn call_that_is_refused_is_told_in_the_dialog() {
    let (_balancer, url) = balancer(&["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.click("#add").await;
    browser.fill("#names", "Server1").await;
    browser.click("#confirm").await;
    browser
        .until("dialog [role='alert']", |text| text.contains("Server1"))
        .await;
    browser.close(&["409"]).await;
}

#[tokio::test]
async fn pause_and_maintenance_are_shown_and_ended() {
    let (_balancer, url) = balancer(&["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    for (path, method, shown) in [
        ("pause", "POST", "Paused for"),
        ("maintenance", "PUT", "Maintenance since"),
    ] {
        let call = format!(
            "return fetch('/api/v1/fleets/default/{path}', {{method: '{method}', \
             headers: {{'content-type': 'application/json'}}, body: '{{}}'}}) \
             .then((answer) => answer.status)"
        );
        assert_eq!(browser.script(&call).await, 200);
        browser
            .until(&format!("#{path}"), |text| text.contains(shown))
            .await;
        browser.click(&format!("#{path} button")).await;
        browser
            .until("#verdict", |text| text.starts_with("All is well"))
            .await;
    }
    browser.close(&[]).await;
}
