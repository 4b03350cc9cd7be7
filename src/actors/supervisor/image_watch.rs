//! What the task of `--image-watch` asks and tells.

use actix::{Context, Handler, Message, MessageResult};

use super::Supervisor;
use crate::actors::history::HistoryEvent;
use crate::api::{ImageWatch, ReplicaEventKind as Kind};
use crate::fleet::RecordChange;

/// Which image does the definition have, and which digest was seen last?
#[derive(Debug, Message)]
#[rtype(result = "WatchedImage")]
pub struct GetWatchedImage;

/// The answer to [`GetWatchedImage`].
#[derive(Debug)]
pub struct WatchedImage {
    pub image: Option<String>,
    pub seen: Option<String>,
}

/// The registry has this digest, and what there was to do about it has been done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteDigest {
    /// The tag, with the digest.
    pub seen: String,
    /// The rollout that has begun, in words.
    pub moved: Option<String>,
}

/// Have this shown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteImageWatch(pub ImageWatch);

impl Handler<GetWatchedImage> for Supervisor {
    type Result = MessageResult<GetWatchedImage>;

    fn handle(&mut self, _: GetWatchedImage, _: &mut Context<Self>) -> Self::Result {
        let record = self.record.record();
        MessageResult(WatchedImage {
            image: record.definition.image,
            seen: record.watched_digest,
        })
    }
}

impl Handler<NoteDigest> for Supervisor {
    type Result = ();

    fn handle(&mut self, note: NoteDigest, ctx: &mut Context<Self>) {
        if let Some(reason) = note.moved {
            self.record_event(HistoryEvent::of_fleet(Kind::ImageMoved).because(reason));
        }
        if self.record.record().watched_digest.as_ref() != Some(&note.seen) {
            self.write_record(vec![RecordChange::WatchedDigest(note.seen)], ctx);
        }
    }
}

impl Handler<NoteImageWatch> for Supervisor {
    type Result = ();

    fn handle(&mut self, NoteImageWatch(watch): NoteImageWatch, _: &mut Context<Self>) {
        self.image_watch = Some(watch);
    }
}
