//! What is wrong, where, and what is allowed.

use super::*;

/// Compares a transcript with itself as it would be written now.
#[test]
fn what_is_said_is_answered_with_every_mistake_or_warning() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/said.txt");
    let transcript = std::fs::read_to_string(path).unwrap();
    let (mut written, mut file) = (String::new(), String::new());
    for line in transcript.lines() {
        if line.is_empty() || line.starts_with(['#', '<', '$']) {
            written.push_str(&format!("{line}\n"));
        }
        if let Some(text) = line.strip_prefix('<') {
            file.push_str(&format!("{}\n", text.trim_start()));
        } else if let Some(words) = line.strip_prefix('$') {
            for line in answer(words, std::mem::take(&mut file)) {
                written.push_str(&format!("{line}\n"));
            }
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    for (before, after) in transcript.lines().zip(written.lines()) {
        assert_eq!(before, after);
    }
    assert_eq!(transcript, written);
}

/// The mistakes or warnings of a command line that begins with variables.
fn answer(words: &str, file: String) -> Vec<String> {
    let words = shlex::split(words).unwrap();
    let is_variable = |word: &&String| word.starts_with(|c: char| c.is_ascii_uppercase());
    let env = words.iter().take_while(is_variable);
    let env: Vec<_> = env.map(|word| word.split_once('=').unwrap()).collect();
    let args: Vec<_> = words[env.len()..].iter().map(String::as_str).collect();
    let said = Said {
        args: &args,
        env: &env,
        file: (!file.is_empty()).then_some(&file),
    };
    match parse(said) {
        Err(mistakes) => mistakes,
        Ok(Invocation::Balance { warnings, .. } | Invocation::Check { warnings, .. }) => warnings,
        Ok(other) => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn a_value_is_read_or_told_what_is_wrong_with_it() {
    let (mut field, mut args) = ("", Vec::new());
    let mut different = String::new();
    for line in include_str!("values.txt").lines() {
        if let Some(words) = line.strip_prefix("## ") {
            let (name, words) = words.split_once(' ').unwrap();
            (field, args) = (name, words.split(' ').collect());
        } else if !line.is_empty() && !line.starts_with('#') {
            let (value, expected) = value_and_rest(line);
            let mut args = args.clone();
            let last = format!("{}={value}", args.pop().unwrap());
            args.push(&last);
            let said = Said {
                args: &args,
                ..Said::default()
            };
            let (answer, expected) = match (parse(said), expected.split_at(2)) {
                (Ok(Invocation::Balance { settings, .. }), ("= ", is)) => {
                    (format!("{settings:?},"), format!(" {field}: {is}"))
                }
                (Err(mistakes), ("! ", wrong)) => {
                    (mistakes.join("\n"), format!("): {wrong}; allowed is "))
                }
                (other, _) => (format!("{other:?}"), "?".repeat(9)),
            };
            if !answer.contains(&expected) {
                different.push_str(&format!("{line}\n    {answer}\n"));
            }
        }
    }
    assert!(different.is_empty(), "\n{different}");
}

/// The value at a line's beginning, and what is behind it.
fn value_and_rest(line: &str) -> (String, &str) {
    if line.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(line).into_iter();
        let value = values.next().unwrap().unwrap();
        return (value, line[values.byte_offset()..].trim_start());
    }
    let (value, rest) = line.split_once(' ').unwrap();
    (value.to_owned(), rest)
}

#[test]
fn a_usage_error_ends_with_where_to_read_on() {
    let error = cli::parse(
        ["ringmaster", "--replicas", "0", "--workers", "0"].map(OsString::from),
        [],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: replicas = \"0\" (from --replicas): too small; allowed is 1 to 1024\n\
         error: workers = \"0\" (from --workers): too small; allowed is 1 to 256\n\
         try 'ringmaster --help'"
    );
}

#[test]
fn mistakes_point_to_the_help_of_their_own_subcommand() {
    for (args, help) in [
        (&["--replcas", "3"][..], "try 'ringmaster --help'"),
        (
            &["check", "--replicas", "0"],
            "try 'ringmaster check --help'",
        ),
        (&["drill"], "try 'ringmaster drill --help'"),
        (
            &["drill", "--kill", "a", "--url", "x"],
            "try 'ringmaster drill --help'",
        ),
        (
            &["analyze", "--only", "a9"],
            "try 'ringmaster analyze --help'",
        ),
        (
            &["replica", "--listen", "x"],
            "try 'ringmaster replica --help'",
        ),
        (&["ring"], "try 'ringmaster ring --help'"),
        (
            &["ring", "show", "--slots", "0"],
            "try 'ringmaster ring show --help'",
        ),
        (&["help", "drlil"], "try 'ringmaster --help'"),
    ] {
        let args = std::iter::once(&"ringmaster")
            .chain(args)
            .map(OsString::from);
        let error = cli::parse(args, []).unwrap_err().to_string();
        assert_eq!(error.lines().last(), Some(help));
    }
}

/// What is in messages of Rust's own and says nothing to others.
const WORDS_OF_RUST: [&str; 9] = [
    "usize",
    "u32",
    "u64",
    "f64",
    "..=",
    "invalid digit",
    "target type",
    "variant",
    "Some(",
];

#[test]
fn every_option_refuses_nonsense_without_words_of_rust() {
    let mut told = Vec::new();
    for value in ["\u{1}", "-1", "99999999999999999999999", "1e999", "="] {
        for option in OPTIONS.iter().filter(|option| option.key() != "config") {
            let flag = format!("--{}={value}", option.key());
            told.extend(
                parse(Said {
                    args: &[&flag],
                    ..Said::default()
                })
                .err(),
            );
        }
        for (command, flags) in [
            ("drill", &["for", "rate", "url"][..]),
            (
                "analyze",
                &["pid", "requests", "concurrency", "scale", "only", "seed"],
            ),
        ] {
            for flag in flags {
                let flag = format!("--{flag}={value}");
                let url = if command == "drill" {
                    "--kill=all"
                } else {
                    "--url=http://a:1"
                };
                told.extend(
                    parse(Said {
                        args: &[command, url, &flag],
                        ..Said::default()
                    })
                    .err(),
                );
            }
        }
    }
    assert!(told.len() > 100, "{told:?}");
    for line in told.concat() {
        assert!(
            !WORDS_OF_RUST.iter().any(|word| line.contains(word)),
            "{line}"
        );
    }
}

#[test]
fn none_and_null_are_the_same() {
    for (key, others) in [
        ("balance-factor", &[][..]),
        ("max-in-flight", &[]),
        ("max-tunnels", &[]),
        ("max-connections-per-client", &[]),
        ("max-body", &[]),
        ("memory", &["--image", "x"]),
        ("cpus", &["--image", "x"]),
        ("pids", &["--image", "x"]),
    ] {
        let with = |value: &str| flags(&[others, &[&format!("--{key}={value}")]].concat());
        assert_eq!(with("none"), with("null"), "{key}");
        assert_eq!(with("none"), with("None"), "{key}");
    }
}

proptest! {
    #[test]
    fn no_arguments_panic(args in prop::collection::vec(any::<String>(), 0..6)) {
        let args = std::iter::once("ringmaster".to_owned()).chain(args).map(OsString::from);
        let _ = cli::parse(args, []);
    }

    #[test]
    fn no_value_panics(index in 0..OPTIONS.len(), value in any::<String>(), docker: bool) {
        let option = &OPTIONS[index];
        let runtime = if docker { "docker" } else { "static" };
        let env = [(option.variable(), value.clone()), ("RINGMASTER_RUNTIME".into(), runtime.into())]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let flag = format!("--{}={value}", option.key());
        // Whatever file such a text may name is left alone.
        if !["config", "env-file"].contains(&option.key()) {
            let _ = cli::parse([OsString::from("ringmaster")], env);
            let _ = cli::parse(["ringmaster".into(), OsString::from(flag)], []);
        }
    }

    #[test]
    fn no_file_panics(text in any::<String>(), index in 0..OPTIONS.len(), value in "[\\[\\]{}\"'0-9a-z=., -]{0,20}") {
        let key = OPTIONS[index].key();
        for text in [text, format!("{key} = {value}")] {
            let _ = parse(Said { file: Some(&text), ..Said::default() });
        }
    }
}
