//! Digests of an image's tag, for `--image-watch`.

use super::engine::{Engine, split_tag};
use crate::runtime::{ImageDigests, RuntimeError};

impl Engine {
    /// The digest that the registry has for this tag, and the one that the engine has.
    pub(crate) async fn image_digests(&self, tag: &str) -> Result<ImageDigests, RuntimeError> {
        let asked = self.registry_digest(tag).await;
        let registry = asked.map_err(|why| RuntimeError(format!("no digest of {tag}: {why}")))?;
        // An image that the engine does not have any more has no digest here.
        let local = self.quick().inspect_image(tag).await.ok();
        let local = local.and_then(|image| digest_of(&image.repo_digests?, split_tag(tag).0));
        Ok(ImageDigests { registry, local })
    }
}

/// The digest that an image has in this repository.
fn digest_of(repo_digests: &[String], repository: &str) -> Option<String> {
    let mut pairs = repo_digests.iter().filter_map(|text| text.split_once('@'));
    let found = pairs.find(|(name, _)| *name == repository)?;
    Some(found.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_repository() {
        let digests = ["r.example:5/shop@sha256:a", "shop@sha256:b"].map(str::to_owned);
        let of = |repository: &str| digest_of(&digests, repository);
        assert_eq!(of("r.example:5/shop").as_deref(), Some("sha256:a"));
        assert_eq!(of("shop").as_deref(), Some("sha256:b"));
        assert_eq!(of("other"), None);
    }
}
