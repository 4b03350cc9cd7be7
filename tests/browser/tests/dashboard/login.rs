//! Who may look, and who may change.

use crate::balancer::{locked, on_terminal};
use crate::browser::browser;

/// What the console says of calls without a right.
const UNAUTHORIZED: &str = "401";

#[tokio::test]
async fn login_by_a_token_shows_the_page_until_logout() {
    let (_balancer, url) = locked("login-by-a-token", &["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.client.goto(&url).await.unwrap();
    browser
        .until("#login", |text| text.contains("Log in"))
        .await;
    assert_eq!(browser.text("#dashboard").await, "");
    browser.screenshot("login.png").await;
    browser.fill("#token", "wrong").await;
    browser.click("#login-form button").await;
    browser
        .until("#login-error", |text| text.contains("not accepted"))
        .await;
    browser.fill("#token", "changer").await;
    browser.click("#login-form button").await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    assert_eq!(browser.text("#login").await, "");
    // No script reads the cookie.
    assert_eq!(browser.script("return document.cookie").await, "");
    browser.client.refresh().await.unwrap();
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser.click("#logout").await;
    browser
        .until("#verdict", |text| text == "Not logged in")
        .await;
    browser.client.refresh().await.unwrap();
    browser
        .until("#login", |text| text.contains("Log in"))
        .await;
    browser.close(&[UNAUTHORIZED]).await;
}

#[tokio::test]
async fn link_logs_in_once_and_leaves_the_address_bar() {
    let (_balancer, link) = on_terminal(&["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&link).await;
    let address = browser.client.current_url().await.unwrap();
    assert_eq!(address.fragment(), None);
    let history = browser.script("return history.length").await;
    assert!(history.as_u64().unwrap() <= 2, "{history}");
    browser.click("#logout").await;
    browser
        .until("#verdict", |text| text == "Not logged in")
        .await;
    browser.client.goto(&link).await.unwrap();
    browser
        .until("#login-error", |text| text.contains("has been used"))
        .await;
    browser.close(&[UNAUTHORIZED]).await;
}

#[tokio::test]
async fn reader_sees_why_its_buttons_are_disabled_and_is_refused() {
    let (_balancer, url) = locked("reader", &["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.client.goto(&url).await.unwrap();
    browser
        .until("#login", |text| text.contains("Log in"))
        .await;
    browser.fill("#token", "looker").await;
    browser.click("#login-form button").await;
    browser
        .until("#verdict", |text| text.starts_with("All is well"))
        .await;
    browser
        .until("#read-only", |text| text.contains("right to read"))
        .await;
    browser
        .until_true(
            "const buttons = [...document.querySelectorAll('button.change')];
             return buttons.length > 2 && buttons.every((button) => button.disabled)",
        )
        .await;
    // A button that is enabled by hand changes nothing, and says why.
    browser
        .script("document.getElementById('add').disabled = false")
        .await;
    browser.click("#add").await;
    browser.click("#confirm").await;
    browser
        .until("dialog [role='alert']", |text| {
            text.contains("right to read")
        })
        .await;
    browser.close(&[UNAUTHORIZED, "403"]).await;
}
