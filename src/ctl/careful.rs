//! Changes that another operator's change, or a lost answer, cannot turn into something else.

use std::time::Duration;

use awc::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;

/// How often a call is sent again while the first one is under way, and for how long.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const MAX_RETRIES: u32 = 600;

/// Reads what is at `path`, has it looked at, and changes it, if nothing has been configured since. If
/// something has, all that is done once more.
pub async fn change_as_read<R: DeserializeOwned, T: DeserializeOwned>(
    client: &CtlClient,
    path: &str,
    body: &impl Serialize,
    look: impl Fn(&R) -> Result<(), CtlError>,
) -> Result<ApiReply<T>, CtlError> {
    let attempt = async || {
        let read: ApiReply<R> = client.get(path).await?;
        look(&read.value)?;
        let unchanged = CallCondition::IfMatch(read.etag.as_deref());
        client.change(Method::PATCH, path, unchanged, body).await
    };
    match attempt().await {
        Err(error) if error.is_of(OUTDATED) => {
            eprintln!("the fleet has been changed meanwhile by another call: it is read again");
        }
        answered => return answered,
    }
    attempt().await.map_err(|error| match error {
        CtlError::Refused {
            call,
            kind,
            status,
            detail,
            ..
        } if kind.ends_with(OUTDATED) => CtlError::Refused {
            call,
            kind,
            status,
            detail,
            advice: "; that was the second time: this call has changed nothing".to_owned(),
        },
        other => other,
    })
}

/// The ends of the types of problems.
const OUTDATED: &str = "/precondition-failed";
const UNDER_WAY: &str = "/key-in-use";

/// `POST` that is carried out once, also if it has to be sent twice because the connection broke.
pub async fn post_once<T: DeserializeOwned>(
    client: &CtlClient,
    path: &str,
    body: &impl Serialize,
) -> Result<ApiReply<T>, CtlError> {
    let key = format!("{:032x}", fastrand::u128(..));
    let attempt = async || {
        let once = CallCondition::IdempotencyKey(&key);
        client.change(Method::POST, path, once, body).await
    };
    match attempt().await {
        Err(CtlError::Broken { .. }) => {}
        answered => return answered,
    }
    for _ in 0..MAX_RETRIES {
        match attempt().await {
            Err(error) if error.is_of(UNDER_WAY) => tokio::time::sleep(RETRY_INTERVAL).await,
            answered => return answered,
        }
    }
    attempt().await
}
