//! What an operator can do about a death, as far as its exit and its last lines tell. Pure.

use super::Exit;

/// What to do about an instance that ended so and printed this, if that is known.
///
/// `restricted` says that it ran in a container with `--replica-security restricted`, so
/// that advice about it applies.
pub fn death_hint(exit: &Exit, lines: &[String], restricted: bool) -> Option<&'static str> {
    let printed = |needles: &[&str]| {
        lines.iter().rev().any(|line| {
            let line = line.to_ascii_lowercase();
            needles.iter().any(|needle| line.contains(needle))
        })
    };
    if exit.out_of_memory {
        return Some("it used all of its memory: --memory sets the limit");
    }
    if restricted && printed(&["read-only file system", "erofs"]) {
        return Some(
            "the container's root file system is read-only and only /tmp can be written: \
             --replica-security baseline makes it writable",
        );
    }
    if restricted
        && printed(&[
            "permission denied",
            "operation not permitted",
            "eacces",
            "eperm",
        ])
    {
        return Some(
            "the container runs as a user that is not root and has no capabilities: \
             --replica-security baseline gives it the image's own user",
        );
    }
    if printed(&["address already in use", "eaddrinuse"]) {
        return Some("another program listens on its port: it should listen on $PORT");
    }
    match exit.code {
        Some(0) => Some(
            "a replica has to stay: run the server in the foreground, not as a daemon or a script \
             that ends",
        ),
        Some(126) => Some("its program was found and cannot be executed"),
        Some(127) => Some("its program was not found"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Exit {
        Exit::code(code)
    }

    #[test]
    fn hint_names_what_can_be_done_about_a_death() {
        let hint = |exit: &Exit, line: &str, restricted| {
            let lines = ["starting".to_owned(), line.to_owned(), "bye".to_owned()];
            death_hint(exit, &lines, restricted)
        };
        let no_memory = Exit {
            signal: Some(9),
            out_of_memory: true,
            ..Exit::default()
        };
        let killed = Exit::signal(9);
        let erofs = "mkdir: can't create directory '/data': Read-only file system";
        for (exit, line, restricted, expected) in [
            (&exited(1), erofs, true, Some("--replica-security baseline")),
            (&exited(1), erofs, false, None),
            (
                &exited(1),
                "nginx: [emerg] mkdir() failed (13: Permission denied)",
                true,
                Some("--replica-security baseline"),
            ),
            (
                &exited(1),
                "Error: listen EADDRINUSE: address already in use 0.0.0.0:80",
                false,
                Some("$PORT"),
            ),
            (&exited(0), "done", true, Some("a replica has to stay")),
            (
                &exited(127),
                "sh: nope: not found",
                false,
                Some("not found"),
            ),
            (&no_memory, "", true, Some("--memory")),
            (&killed, "", true, None),
            (&exited(1), "boom", true, None),
        ] {
            let hint = hint(exit, line, restricted);
            match expected {
                Some(words) => assert!(hint.is_some_and(|hint| hint.contains(words)), "{line}"),
                None => assert_eq!(hint, None, "{line}"),
            }
        }
    }
}
