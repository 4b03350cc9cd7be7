//! `--image-watch`: looks for the image's tag at its registry, and has it rolled out when it has moved.

use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use tokio::time::sleep;

use crate::actors::supervisor::{NoteDigest, SupervisorHandle};
use crate::api::{ImageWatch, NewRollout, Timestamp};
use crate::fleet::{moved_image, watched_tag};
use crate::human::duration;
use crate::runtime::Runtime;

/// Watches the tag of a fleet's image.
pub struct ImageWatcher {
    pub every: Duration,
    pub supervisor: SupervisorHandle,
    /// Asks the registry.
    pub runtime: Rc<dyn Runtime>,
}

impl ImageWatcher {
    /// Watches until the actors end.
    pub fn start(self) {
        info!(
            "image watch: the registry is asked every {}",
            duration(self.every)
        );
        actix::spawn(async move { self.run().await.unwrap_or_default() });
    }

    /// Over when an actor has ended.
    async fn run(self) -> Option<()> {
        let mut shown = ImageWatch {
            image: String::new(),
            checked_at: None,
            digest: None,
            last_move: None,
            last_error: None,
        };
        loop {
            let outcome = self.look(&mut shown).await?;
            match (&outcome, &shown.last_error) {
                // Once, until it is another one.
                (Some(error), last) if last.as_ref() != Some(error) => {
                    warn!(
                        "image watch: {error}; it is tried again every {}",
                        duration(self.every)
                    );
                }
                (None, Some(_)) => info!("image watch: {} is watched again", shown.image),
                _ => {}
            }
            shown.checked_at = Some(Timestamp::now());
            shown.last_error = outcome;
            self.supervisor.note_image_watch(shown.clone());
            sleep(self.every).await;
        }
    }

    /// Looks once; what has failed, in words. None if an actor has ended.
    async fn look(&self, shown: &mut ImageWatch) -> Option<Option<String>> {
        let watched = self.supervisor.watched_image().await.ok()?;
        let image = watched.image.unwrap_or_default();
        let Some(tag) = watched_tag(&image) else {
            return Some(Some(format!("{image:?} has no tag that could move")));
        };
        shown.image.clone_from(&tag);
        let digests = match self.runtime.image_digests(tag.clone()).await {
            Ok(digests) => digests,
            Err(error) => return Some(Some(error.to_string())),
        };
        let digest = digests.registry.as_str();
        shown.digest = Some(digest.to_owned());
        let pinned = format!("{tag}@{digest}");
        // What was seen of another tag says nothing.
        let seen = watched.seen.as_deref();
        let seen = seen.and_then(|seen| seen.strip_prefix(&tag)?.strip_prefix('@'));
        let note = |moved| {
            let seen = pinned.clone();
            self.supervisor.note_digest(NoteDigest { seen, moved });
        };
        let Some(moved) = moved_image(&image, seen, &digests) else {
            note(None);
            return Some(None);
        };
        let new = NewRollout {
            image: Some(moved),
            ..NewRollout::default()
        };
        let begun = self.supervisor.start_rollout(new).await.ok()?;
        match begun {
            Ok(rollout) => {
                let id = rollout.id;
                let reason = format!("{tag} is {digest} at its registry: rollout {id}");
                info!("image watch: {reason}");
                shown.last_move = Some(reason.clone());
                note(Some(reason));
                Some(None)
            }
            Err(error) => Some(Some(format!("{tag} is {digest} at its registry: {error}"))),
        }
    }
}
