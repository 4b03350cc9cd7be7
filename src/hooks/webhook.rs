//! Events as the body of a POST.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::{StatusCode, Uri};
use awc::Client;

use super::signature::Signer;
use super::{DeliveryError, TIMEOUT};
use crate::api::ReplicaEvent;

/// A URL that is told of events.
pub struct Webhook {
    client: Client,
    url: Uri,
    signer: Option<Signer>,
    /// Tells this balancer's events from those of another, whose numbers begin at one, too.
    source: String,
}

impl Webhook {
    /// This URL, told with signatures if there is a secret.
    pub fn new(url: &Uri, signer: Option<Signer>) -> Self {
        let client = Client::builder().timeout(TIMEOUT).disable_redirects();
        Self {
            client: client.finish(),
            url: url.clone(),
            signer,
            source: format!("{:016x}", fastrand::u64(..)),
        }
    }

    /// Sends an event, whose JSON is `body`.
    pub async fn send(&self, event: &ReplicaEvent, body: Vec<u8>) -> Result<(), DeliveryError> {
        // The same at each try: by it a receiver knows what it has had.
        let id = format!("{}-{}", self.source, event.id);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let mut request = self
            .client
            .post(&self.url)
            .insert_header(("user-agent", "ringmaster"))
            .insert_header(("content-type", "application/json"))
            .insert_header(("webhook-id", id.as_str()))
            .insert_header(("webhook-timestamp", timestamp));
        if let Some(signer) = &self.signer {
            let signature = signer.sign(&id, timestamp, &body);
            request = request.insert_header(("webhook-signature", signature));
        }
        let sent = request.send_body(body).await;
        let response = sent.map_err(|error| DeliveryError::Temporary(error.to_string()))?;
        judge(response.status())
    }
}

/// What a status says of the delivery.
fn judge(status: StatusCode) -> Result<(), DeliveryError> {
    let wrong = || format!("status {}", status.as_u16());
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(DeliveryError::Temporary(wrong()))
        }
        status if status.is_server_error() => Err(DeliveryError::Temporary(wrong())),
        _ => Err(DeliveryError::Refused(wrong())),
    }
}
