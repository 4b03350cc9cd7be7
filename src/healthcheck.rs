//! `ringmaster healthcheck`: asks a balancer how it is, for Docker's HEALTHCHECK in an
//! image without a shell or curl.

use std::time::Duration;

use awc::http::{Method, Uri};

use crate::upstream::OneShotClient;

/// Docker's own limit is longer: this one gives the reason.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks `url`; any 2xx is good.
///
/// # Errors
///
/// What is wrong, for a person.
pub fn run(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    actix_web::rt::System::new().block_on(async {
        let asked = OneShotClient::new(TIMEOUT).send(Method::GET, uri).await;
        let response = asked.map_err(|error| format!("{url}: {error}"))?;
        if response.head.status().is_success() {
            Ok(())
        } else {
            Err(format!("{url}: status {}", response.head.status()))
        }
    })
}
