//! `/api/docs`: the description of the admin API for people.

use crate::balancer::balancer;
use crate::browser::browser;

/// How many operations the description has.
const DESCRIBED: &str = "const request = new XMLHttpRequest();
    request.open('GET', '/api/openapi.json', false);
    request.send();
    const paths = Object.values(JSON.parse(request.responseText).paths);
    return paths.flatMap((path) => Object.keys(path)).length";

#[tokio::test]
async fn every_operation_is_shown_and_can_be_tried() {
    let Some(browser) = browser().await else {
        return;
    };
    let (_balancer, url) = balancer(&["--replicas", "1"]);
    browser
        .client
        .goto(&format!("{url}api/docs"))
        .await
        .unwrap();
    let described = browser.script(DESCRIBED).await.as_u64().unwrap();
    assert!(described > 20, "{described}");
    let shown = "return document.querySelectorAll('.opblock').length";
    browser
        .until_true(&format!("{} === {described}", shown))
        .await;
    let title = browser.text(".info .title").await;
    assert!(title.starts_with("Ringmaster's admin API"), "{title}");
    assert_eq!(browser.text(".errors-wrapper").await, "");

    let operation = "#operations-balancer-version";
    browser
        .click(&format!("{operation} .opblock-summary-control"))
        .await;
    browser.click(&format!("{operation} .try-out__btn")).await;
    browser.click(&format!("{operation} .execute")).await;
    let live = format!("{operation} .live-responses-table");
    let response = browser
        .until(&live, |text| text.contains("\"version\""))
        .await;
    assert!(
        response.starts_with("Code") && response.contains("200"),
        "{response}"
    );
    browser.screenshot("docs.png").await;
    browser.close(&[]).await;
}
