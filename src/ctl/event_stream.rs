//! `events --follow`: server-sent events, through interruptions.

use std::time::Duration;

use awc::ClientResponse;
use futures::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::client::{ApiReply, CtlClient};
use super::error::CtlError;
use super::events;
use super::output::{Output, print};
use crate::api::{ReplicaEvent, Status, Timestamp};

/// The balancer sends a comment at least every 15 s: a connection that is silent for longer is dead.
const MAX_SILENCE: Duration = Duration::from_secs(45);

/// How long to wait before another connection.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// A stream as long as one event is not a balancer's.
const MAX_EVENT: usize = 1 << 20;

/// Prints what has happened and what happens. Ends when nothing reads it any more.
pub async fn follow(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let mut feed = EventFeedClient::connect(client).await?;
    loop {
        let event = match feed.next(client).await {
            Ok(event) => event,
            Err(error) => {
                eprintln!("{error}; trying again");
                feed.reconnect(client).await;
                continue;
            }
        };
        let text = match output.json {
            true => event.json,
            false => events::line(&event.value),
        };
        if print(&text).is_err() {
            return Ok(());
        }
    }
}

/// The events of a balancer, none lost and none twice while it runs.
pub struct EventFeedClient {
    response: ClientResponse,
    parser: Parser,
    /// When the balancer began: the numbers of its events begin with it.
    started_at: Timestamp,
    last: Option<u64>,
}

impl EventFeedClient {
    /// Opens the stream, with what has happened.
    ///
    /// # Errors
    ///
    /// The balancer does not answer, or refuses.
    pub async fn connect(client: &CtlClient) -> Result<Self, CtlError> {
        let started_at = started_at(client).await?;
        Ok(Self {
            // Without a number the past would not be in it.
            response: client.events(Some(0)).await?,
            parser: Parser::default(),
            started_at,
            last: None,
        })
    }

    /// The next event. What it returns before it is ready is not lost if it is dropped.
    ///
    /// # Errors
    ///
    /// The stream broke off.
    pub async fn next(&mut self, client: &CtlClient) -> Result<ApiReply<ReplicaEvent>, CtlError> {
        loop {
            if let Some(json) = self.parser.next_event() {
                let event: ReplicaEvent = serde_json::from_str(&json)
                    .map_err(|error| broken(client, error.to_string()))?;
                self.last = Some(event.id);
                let etag = None;
                return Ok(ApiReply {
                    value: event,
                    json,
                    etag,
                });
            }
            let chunk = match timeout(MAX_SILENCE, self.response.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(broken(client, error.to_string())),
                Ok(None) => return Err(broken(client, "the stream has ended".to_owned())),
                Err(_) => return Err(broken(client, "the balancer is silent".to_owned())),
            };
            if !self.parser.push(&chunk) {
                return Err(broken(client, "an event is too long".to_owned()));
            }
        }
    }

    /// Opens the stream again, however long that takes: where it was, or from the beginning of a
    /// balancer that has started meanwhile.
    pub async fn reconnect(&mut self, client: &CtlClient) {
        loop {
            sleep(RECONNECT_INTERVAL).await;
            let Ok(started_at) = started_at(client).await else {
                continue;
            };
            let is_same = started_at == self.started_at;
            let after = self.last.filter(|_| is_same).unwrap_or_default();
            if let Ok(response) = client.events(Some(after)).await {
                self.response = response;
                self.parser = Parser::default();
                self.started_at = started_at;
                return;
            }
        }
    }
}

async fn started_at(client: &CtlClient) -> Result<Timestamp, CtlError> {
    let status: ApiReply<Status> = client.get("/status").await?;
    Ok(status.value.started_at)
}

fn broken(client: &CtlClient, cause: String) -> CtlError {
    CtlError::Broken {
        call: "GET /events".to_owned(),
        url: client.url().to_owned(),
        cause,
    }
}

/// Takes events out of a stream, which may be cut anywhere.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes what came; false if an event is too long.
    fn push(&mut self, chunk: &[u8]) -> bool {
        self.buffer.extend_from_slice(chunk);
        self.buffer.len() <= MAX_EVENT
    }

    /// The data of the next event that is complete.
    fn next_event(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let data = block.lines().filter_map(|line| line.strip_prefix("data:"));
            let data: Vec<&str> = data
                .map(|data| data.strip_prefix(' ').unwrap_or(data))
                .collect();
            // Comments and the time to wait have none.
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_from_a_stream_that_is_cut_anywhere() {
        let stream =
            b"retry: 1000\n\n:\n\nid: 3\ndata: {\"a\":1}\n\nid: 4\ndata: x\ndata: y\n\nid: 5\n";
        for cut in 0..stream.len() {
            let (mut parser, mut found) = (Parser::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                assert!(parser.push(part));
                found.extend(std::iter::from_fn(|| parser.next_event()));
            }
            assert_eq!(found, ["{\"a\":1}", "x\ny"], "{cut}");
        }
        assert!(!Parser::default().push(&vec![b'x'; MAX_EVENT + 1]));
    }
}
