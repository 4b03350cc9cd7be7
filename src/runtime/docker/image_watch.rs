//! Digests of an image's tag, for `--image-watch`. The engine asks the registry: it knows which ones are
//! reached without TLS, and through which proxy.

use super::engine::{Engine, split_tag};
use super::registry;
use crate::runtime::{ImageDigests, RuntimeError};

impl Engine {
    /// The digest that the registry has for this tag, and the one that the engine has.
    pub(super) async fn image_digests(&self, tag: &str) -> Result<ImageDigests, RuntimeError> {
        let failed = |reason: String| RuntimeError(format!("no digest of {tag}: {reason}"));
        let credentials = registry::credentials(tag).await.map_err(failed)?;
        let docker = self.quick();
        let asked = docker.inspect_registry_image(tag, credentials).await;
        let answer = asked.map_err(|error| failed(self.explain(error).to_string()))?;
        let digest = answer.descriptor.digest;
        let registry = digest.ok_or_else(|| failed("the registry says none".to_owned()))?;
        // An image that the engine does not have any more has no digest here.
        let local = docker.inspect_image(tag).await.ok();
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
