//! `--image-watch`: whether a tag that has moved at its registry is to be rolled out.
//!
//! A rollout by a watch pins what it runs: `shop:1` becomes `shop:1@sha256:...`, so that every instance
//! runs the same, and a restart of the balancer goes on with it. The record keeps the digest that was seen last:
//! what an operator has undone, or what has been rolled back, is not brought again until the tag
//! moves once more.

/// The digests of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDigests {
    /// What its registry has.
    pub registry: String,
    /// What the engine has, if it has come from the registry.
    pub local: Option<String>,
}

/// The tag of an image's name, with `:latest` if it has none, without a digest. None if there is only a
/// digest or an id, which never move.
pub fn watched_tag(image: &str) -> Option<String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash is a registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.contains(':'), digest) {
        _ if name.is_empty() || name.starts_with("sha256:") => None,
        (true, _) => Some(name.to_owned()),
        (false, None) => Some(format!("{name}:latest")),
        (false, Some(_)) => None,
    }
}

/// The image to roll out, if the tag of `image` has moved. `seen` is the digest that was seen last.
pub fn moved_image(image: &str, seen: Option<&str>, digests: &ImageDigests) -> Option<String> {
    let registry = digests.registry.as_str();
    let pinned = image.split_once('@').map(|(_, digest)| digest);
    let present = pinned.or(seen).or(digests.local.as_deref())?;
    let is_new = present != registry && seen != Some(registry);
    is_new.then(|| Some(format!("{}@{registry}", watched_tag(image)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_watched_and_digests_are_not() {
        for (image, tag) in [
            ("shop", Some("shop:latest")),
            ("shop:1.5", Some("shop:1.5")),
            ("r.example:5000/shop", Some("r.example:5000/shop:latest")),
            (
                "r.example:5000/a/shop:1@sha256:ab",
                Some("r.example:5000/a/shop:1"),
            ),
            ("shop@sha256:ab", None),
            ("r.example:5000/shop@sha256:ab", None),
            ("sha256:ab", None),
            ("", None),
        ] {
            assert_eq!(watched_tag(image).as_deref(), tag, "{image}");
        }
    }

    #[test]
    fn tag_that_has_moved_is_rolled_out_once() {
        let digests = |registry: &str, local: Option<&str>| ImageDigests {
            registry: registry.to_owned(),
            local: local.map(str::to_owned),
        };
        let to = Some("shop:1@b");
        for (image, seen, registry, local, moved) in [
            // What runs is what there is.
            ("shop:1", None, "a", Some("a"), None),
            // It has moved since it was pulled, and since it was rolled out.
            ("shop:1", None, "b", Some("a"), to),
            ("shop:1", Some("a"), "b", Some("a"), to),
            // It was built and pushed from here: what runs is older.
            ("shop:1", Some("a"), "b", Some("b"), to),
            ("shop:1@a", Some("a"), "b", Some("a"), to),
            ("shop:1@b", Some("b"), "b", Some("a"), None),
            // An operator has undone it.
            ("shop:1", Some("b"), "b", Some("a"), None),
            ("shop:1@a", Some("b"), "b", None, None),
            // And back again: a move like any other.
            ("shop:1@a", Some("c"), "b", None, to),
            // Built here: the first look says what there is.
            ("shop:1", None, "b", None, None),
            ("shop:1", Some("a"), "b", None, to),
        ] {
            let found = moved_image(image, seen, &digests(registry, local));
            assert_eq!(
                found.as_deref(),
                moved,
                "{image} {seen:?} {registry} {local:?}"
            );
        }
    }
}
