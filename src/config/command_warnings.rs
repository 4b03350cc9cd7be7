//! What looks like a slip in `--command`: placeholders that nothing replaces.

use super::layers::did_you_mean;
use super::settings::{RuntimeSettings, Settings};

/// The placeholders that are replaced, and the variables that say the same.
const PLACEHOLDERS: [(&str, &str); 2] = [("port", "PORT"), ("name", "SERVER_ID")];

/// What to say of the command that replicas are to run.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let template = match &settings.runtime {
        RuntimeSettings::Process(template) => template,
        RuntimeSettings::Docker(docker) => &docker.template,
        RuntimeSettings::Swarm(swarm) => &swarm.containers.template,
        RuntimeSettings::Static(_) => return Vec::new(),
    };
    template.command.as_deref().map_or_else(Vec::new, doubts)
}

/// What to say of a command's words.
fn doubts(words: &[String]) -> Vec<String> {
    let mut doubts = Vec::new();
    for word in words {
        if let Some(placeholder) = misspelt(word) {
            doubts.push(format!(
                "command: nothing replaces {{{}}} in {word:?}; did you mean {{{placeholder}}}?",
                inner(word).unwrap_or_default()
            ));
        }
        for (placeholder, variable) in PLACEHOLDERS {
            if !runs_a_shell(words) && mentions(word, variable) {
                doubts.push(format!(
                    "command: no shell runs it, so nothing replaces ${variable} in {word:?}; \
                     write {{{placeholder}}}, or sh -c '...'"
                ));
            }
        }
    }
    doubts
}

/// The placeholder of which a word holds a misspelling.
fn misspelt(word: &str) -> Option<&'static str> {
    let names = PLACEHOLDERS.map(|(name, _)| name);
    inner(word)
        .filter(|inner| !names.contains(inner))
        .and_then(|inner| did_you_mean(inner, names))
}

/// What stands in a word's only pair of braces, if it is a name; `${NAME}` is a variable.
fn inner(word: &str) -> Option<&str> {
    let (before, rest) = word.split_once('{')?;
    let (inner, rest) = rest.split_once('}')?;
    if before.ends_with('$') {
        return None;
    }
    let is_name = inner.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    (is_name && !rest.contains('{')).then_some(inner)
}

/// Whether a word has `$NAME` or `${NAME}` in it.
fn mentions(word: &str, variable: &str) -> bool {
    let is_whole = |rest: &str| {
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !rest.starts_with(goes_on)
    };
    word.contains(&format!("${{{variable}}}"))
        || word
            .match_indices(&format!("${variable}"))
            .any(|(place, found)| is_whole(&word[place + found.len()..]))
}

/// Whether the command hands a word to a shell: `sh -c '...'`, or by way of another program
/// (`env A=1 sh -c '...'`).
fn runs_a_shell(words: &[String]) -> bool {
    const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"];
    words.iter().any(|word| {
        let program = word.rsplit('/').next().unwrap_or(word);
        SHELLS.contains(&program)
    })
}
