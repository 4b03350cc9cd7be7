//! axe-core finds nothing, and the keyboard is enough.
//!
//! AXE names axe.min.js, else it is where `.ci/run` puts it; without it the test is skipped, but not
//! where `CI=true`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::balancer::{balancer, locked, signal};
use crate::browser::{Browser, browser, row};

const CHECK: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then((found) => done(
      found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html} ${node.failureSummary}`))))";

fn axe() -> Option<String> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../../target/axe/axe_playwright_python/axe.min.js");
    let path = std::env::var_os("AXE").map_or(installed, PathBuf::from);
    let script = std::fs::read_to_string(&path).ok();
    if script.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no {}",
            path.display()
        );
        eprintln!("SKIPPED: there is no {}", path.display());
    }
    script
}

/// Light or dark, on a desk or on a phone.
fn look(browser: &Browser, scheme: &str, width: u32) {
    let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    browser.chromium("Emulation.setEmulatedMedia", &json!({ "features": scheme }));
    let size = json!({
        "width": width, "height": 1100, "deviceScaleFactor": 1, "mobile": width < 600,
    });
    browser.chromium("Emulation.setDeviceMetricsOverride", &size);
}

async fn check(browser: &Browser, axe: &str, what: &str) {
    for (scheme, width) in [
        ("light", 1440),
        ("dark", 1440),
        ("light", 390),
        ("dark", 390),
    ] {
        look(browser, scheme, width);
        browser.script(axe).await;
        let found = browser
            .client
            .execute_async(CHECK, Vec::new())
            .await
            .unwrap();
        assert_eq!(found, json!([]), "{what}, {scheme}, {width} pixels wide");
        let too_wide = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(browser.script(too_wide).await, false, "{what} at {width}");
        browser
            .screenshot(&format!("{what}-{scheme}-{width}.png"))
            .await;
    }
}

#[tokio::test]
async fn axe_finds_nothing_on_the_page_and_its_dialog() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let (Some(axe), Some(browser)) = (axe(), browser().await) else {
        return;
    };
    browser.open(&url).await;
    let pid = "return fetch('/api/v1/status').then((answer) => answer.json())
        .then((status) => status.fleets[0].replicas[0].pid)";
    signal(&browser.script(pid).await.to_string(), "KILL");
    browser
        .until("#death-list", |text| text.contains("Server1 generation 1"))
        .await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser.fill("#key", "cart-9").await;
    browser.click("#explain button").await;
    browser
        .until("#explanation", |text| text.contains("serves it now"))
        .await;
    check(&browser, &axe, "page").await;
    browser.click("[aria-label='Weight Server1']").await;
    browser
        .until(".effect", |text| text.contains("No key moves"))
        .await;
    check(&browser, &axe, "dialog").await;
    browser.close(&[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_on_the_login_and_for_a_reader() {
    let (_balancer, url) = locked("axe", &["--replicas", "1"]);
    let (Some(axe), Some(browser)) = (axe(), browser().await) else {
        return;
    };
    browser.client.goto(&url).await.unwrap();
    browser
        .until("#login", |text| text.contains("Log in"))
        .await;
    check(&browser, &axe, "login").await;
    browser.fill("#token", "looker").await;
    browser.click("#login-form button").await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    check(&browser, &axe, "reader").await;
    browser.close(&["401"]).await;
}

#[tokio::test]
async fn keyboard_alone_reaches_a_button_and_uses_it() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    const UP: &str = "\u{e013}";
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser
        .until(&row("Server2"), |text| text.contains("Weight"))
        .await;
    let focused =
        "return document.activeElement.getAttribute('aria-label') || document.activeElement.id";
    let reach = async |wanted: &str| {
        for _ in 0..60 {
            browser.type_keys(TAB).await;
            if browser.script(focused).await == Value::from(wanted) {
                return;
            }
        }
        panic!("the keyboard does not reach {wanted}");
    };
    reach("Weight Server2").await;
    browser.type_keys(ENTER).await;
    browser
        .until("#dialog-title", |text| text == "Weight of Server2")
        .await;
    browser.type_keys(ESCAPE).await;
    browser
        .until_true("return !document.getElementById('dialog').open")
        .await;
    // The focus is back where it was.
    assert_eq!(browser.script(focused).await, "Weight Server2");
    browser.type_keys(ENTER).await;
    browser
        .until("#dialog-title", |text| text == "Weight of Server2")
        .await;
    browser.type_keys(UP).await;
    browser.type_keys(UP).await;
    browser
        .until(".effect", |text| text.contains("to 75.0 %"))
        .await;
    browser.type_keys(ENTER).await;
    browser
        .until(&format!("{} .weight", row("Server2")), |text| text == "3")
        .await;
    browser.close(&[]).await;
}
