//! Images: the digest of a tag, so that all nodes run the same, and the credentials with which nodes
//! fetch them.
//!
//! A Swarm takes an image's name as it is given, and each node fetches what its registry has for the tag
//! at that time. So the tag gets its digest here, as the docker client does it, and the definition keeps
//! that: an instance that is started again runs what the others run.

use std::rc::Rc;

use actix::spawn;
use log::{debug, info, warn};
use tokio::time::{Duration, Instant, timeout};

use super::{SwarmFleet, SwarmSettings};
use crate::fleet::watched_tag;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{Engine, ImageFacts, PullPolicy, RegistryAuth};

/// How long credentials are used without being read again: a credential helper may take its time.
const AUTH_LIFETIME: Duration = Duration::from_secs(60);

/// How long a start waits for newer ones.
const AUTH_TIMEOUT: Duration = Duration::from_secs(1);

/// What nodes say of a service's image that they do not have and could not fetch.
const MISSING_IMAGE: &str = "No such image";

/// Credentials that have been read.
#[derive(Clone)]
pub(super) struct KnownAuth {
    image: String,
    read_at: Instant,
    auth: RegistryAuth,
}

impl SwarmSettings {
    /// The image with the digest that its registry has for it now; none if it stays as it is.
    pub async fn pinned_image(&self) -> Result<Option<String>, RuntimeError> {
        // `docker stack deploy` has asked for a stack's.
        if self.from_stack {
            return Ok(None);
        }
        let engine = Engine::from_env()?;
        Ok(self.pinned(&engine, &self.containers.image).await)
    }

    /// An image with the digest that its registry has for its tag now. None if the registry does not say
    /// it, which is logged, if the image has no tag that could move, and if nothing may be fetched.
    pub(super) async fn pinned(&self, engine: &Engine, image: &str) -> Option<String> {
        if self.containers.pull == PullPolicy::Never || image.contains('@') {
            return None;
        }
        let tag = watched_tag(image)?;
        match engine.registry_digest(&tag).await {
            Ok(digest) => {
                info!("swarm: {tag} is {digest} at its registry, and is that on every node");
                Some(format!("{tag}@{digest}"))
            }
            Err(reason) => {
                warn!(
                    "swarm: no digest of {tag}: {reason}; each node takes what it has or finds for this \
                     tag, so nodes may run different images"
                );
                None
            }
        }
    }
}

impl SwarmFleet {
    /// What the image says of its containers. With `--pull never` the nodes may have what this one
    /// has not: then its user and port are not known here, and stay the image's.
    pub(super) async fn image_facts(&self, image: &str) -> Result<ImageFacts, RuntimeError> {
        // What a stack runs is for the nodes to fetch; this one need not have it.
        let pull = match self.settings.from_stack {
            true => PullPolicy::Never,
            false => self.settings.containers.pull,
        };
        let found = self.api.engine().ensure_image(image, pull).await;
        match found {
            Err(error) if pull == PullPolicy::Never => {
                debug!("swarm: {error}");
                Ok(ImageFacts::unknown())
            }
            found => found,
        }
    }

    /// The credentials for the registry of an image, for the nodes. A start does not wait long for newer
    /// ones: nodes that have the image need none.
    pub(super) async fn registry_auth(self: &Rc<Self>, image: &str) -> RegistryAuth {
        let known = self.auth_of(image);
        if let Some(known) = &known
            && known.read_at.elapsed() < AUTH_LIFETIME
        {
            return known.auth.clone();
        }
        // Other starts do not read them as well.
        if let Some(known) = &known {
            self.keep_auth(image, known.auth.clone());
        }
        let limit = known.map_or(Duration::MAX, |_| AUTH_TIMEOUT);
        let reading = spawn(Rc::clone(self).read_auth(image.to_owned()));
        // What is read later is for the next start.
        let _ = timeout(limit, reading).await;
        self.auth_of(image)
            .map(|known| known.auth)
            .unwrap_or_default()
    }

    async fn read_auth(self: Rc<Self>, image: String) {
        let auth = RegistryAuth::of(&image).await.unwrap_or_else(|error| {
            warn!(
                "swarm: no credentials for {image}: {error}; nodes get those that were known before, if any"
            );
            let known = self.auth_of(&image);
            known.map(|known| known.auth).unwrap_or_default()
        });
        self.keep_auth(&image, auth);
    }

    fn auth_of(&self, image: &str) -> Option<KnownAuth> {
        let known = self.known_auth.borrow();
        known.clone().filter(|known| known.image == image)
    }

    fn keep_auth(&self, image: &str, auth: RegistryAuth) {
        self.known_auth.replace(Some(KnownAuth {
            image: image.to_owned(),
            read_at: Instant::now(),
            auth,
        }));
    }

    /// An error of a start, with what the registry says if a node could not fetch the image.
    pub(super) async fn explain_missing(&self, error: RuntimeError, image: &str) -> RuntimeError {
        if !error.0.contains(MISSING_IMAGE) || watched_tag(image).is_none() {
            return error;
        }
        let said = match self.api.engine().registry_digest(image).await {
            Ok(_) => "the registry has it for this manager".to_owned(),
            Err(reason) => format!("to this manager the registry says: {reason}"),
        };
        RuntimeError(format!("{error}; its node could not fetch it, and {said}"))
    }
}
