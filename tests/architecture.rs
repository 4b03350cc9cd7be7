//! Holds what a machine can hold of ARCHITECTURE.md: the direction of the layers, the places of
//! large libraries, circles between files, names.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each uses only those to its left.
const LAYERS: [&str; 15] = [
    "api",
    "ring",
    "fleet",
    "sys",
    "h1",
    "runtime",
    "fault_injection",
    "config",
    "access_log",
    "upstream",
    "actors",
    "hooks",
    "metrics",
    "http",
    "app",
];

/// Words that names must not contain, and what to say instead. Those in capitals are banned as the
/// first word of a constant.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("appetite", "read mode"),
    ("bell", "waker"),
    ("bid", "score"),
    ("bidder", "scorer"),
    ("book", "table"),
    ("broom", "cleanup"),
    ("bury", "record"),
    ("crew", "worker group"),
    ("desk", "mailbox, reporter"),
    ("dice", "seeded rng"),
    ("ENOUGH", "MAX_ or MIN_"),
    ("errand", "request context"),
    ("estate", "instances"),
    ("farewell", "stop mode"),
    ("forgive", "reset"),
    ("graveyard", "death log"),
    ("guest", "foreign"),
    ("haste", "fast interval"),
    ("heir", "newest, successor"),
    ("lane", "h1"),
    ("LARGEST", "MAX_"),
    ("LEAST", "MIN_"),
    ("leeway", "timeout factor"),
    ("LONGEST", "MAX_"),
    ("mercy", "timeout, grace"),
    ("MOST", "MAX_"),
    ("mourn", "record death"),
    ("nap", "park"),
    ("neighbour", "peer"),
    ("neighbours", "peers"),
    ("newcomer", "-"),
    ("nobody", "none"),
    ("anybody", "any"),
    ("somebody", "-"),
    ("patience", "timeout"),
    ("roster", "list"),
    ("seat", "permit"),
    ("spared", "max ejected"),
    ("stranger", "unknown, unmanaged"),
    ("strangers", "unknown, unmanaged"),
    ("strike", "failure"),
    ("strikes", "failures"),
    ("unasked", "unsolicited"),
    ("victim", "target"),
    ("warmth", "slow start"),
    ("whereabouts", "handle"),
    ("whoever", "-"),
    ("wish", "preference"),
];

/// Where banned words are allowed.
const EXEMPT_WORDS: &[(&str, &[&str])] = &[("src/runtime/docker", &["nobody"])];

/// Names of types that are declared twice.
const TWICE: &[&str] = &[
    "Drawn",
    "Head",
    "Host",
    "Inner",
    "Killed",
    "Options",
    "Progress",
    "ReplicaStatus",
    "Shared",
    "State",
];

/// Pairs of files in one folder that import each other.
const CIRCLES: &[(&str, &str)] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a place, by their paths from the root.
fn sources(place: &str) -> Vec<(String, String)> {
    fn read(path: &Path, files: &mut Vec<(String, String)>) {
        if !path.exists() {
            return;
        }
        if path.is_dir() {
            let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            entries.sort();
            entries.iter().for_each(|entry| read(entry, files));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            files.push((name.to_owned(), std::fs::read_to_string(path).unwrap()));
        }
    }
    let mut files = Vec::new();
    read(&root().join(place), &mut files);
    files
}

fn layer(name: &str) -> Vec<(String, String)> {
    let mut files = sources(&format!("src/{name}"));
    files.extend(sources(&format!("src/{name}.rs")));
    assert!(!files.is_empty(), "no layer {name}");
    files
}

/// Whether a file consists of tests.
fn is_tests(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

/// A file without its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

/// The lines that are no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn assert_lacks(files: &[(String, String)], words: &[String], why: &str) {
    for (file, text) in files {
        for word in words {
            let line = code(text).find(|line| line.contains(word.as_str()));
            assert_eq!(line, None, "{file} {why}: {word}");
        }
    }
}

fn paths_of(layers: &[&str]) -> Vec<String> {
    layers.iter().map(|name| format!("crate::{name}")).collect()
}

#[test]
fn layers_use_only_those_to_their_left() {
    for (place, name) in LAYERS.iter().enumerate() {
        let right = paths_of(&LAYERS[place + 1..]);
        assert_lacks(&layer(name), &right, "uses a layer above it");
    }
}

#[test]
fn layers_have_one_list() {
    let line = LAYERS.join("  <-  ");
    for file in ["ARCHITECTURE.md", "src/lib.rs"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(&line), "{file} lacks the line `{line}`");
    }
}

/// `ringmaster ring` works offline, with the pure core only.
#[test]
fn ring_command_uses_only_ring_and_the_json_types() {
    let others: Vec<&str> = LAYERS
        .into_iter()
        .filter(|other| !["ring", "api"].contains(other))
        .collect();
    assert_lacks(&layer("ring_cli"), &paths_of(&others), "uses");
}

/// The JSON types, the framing of HTTP/1.1 and the calls to Linux depend on nothing of ours.
#[test]
fn api_h1_and_sys_use_no_layer() {
    for name in ["api", "h1", "sys"] {
        let others: Vec<&str> = LAYERS.into_iter().filter(|other| *other != name).collect();
        assert_lacks(&layer(name), &paths_of(&others), "uses");
    }
}

/// `analyze` and `drill` measure a balancer from outside, and `ctl` operates one, so they cannot know
/// its inside.
#[test]
fn analysis_drill_and_ctl_are_clients() {
    let clients = ["experiments", "analysis", "drill", "ctl"];
    let allowed = [
        "analysis",
        "api",
        "ctl",
        "drill",
        "experiments",
        "fault_injection",
        "human",
        "ring",
        "ring_cli",
        "sys",
    ];
    for (file, text) in clients.into_iter().flat_map(layer) {
        for line in code(&text).filter(|line| line.contains("crate::")) {
            let (_, path) = line.split_once("crate::").unwrap();
            let fine = allowed.iter().any(|start| path.starts_with(start));
            assert!(fine, "{file}: {line}");
        }
    }
    for name in LAYERS {
        assert_lacks(&layer(name), &paths_of(&clients), "uses");
    }
}

#[test]
fn ring_and_fleet_are_pure() {
    let impure = [
        "actix",
        "awc",
        "tokio",
        "futures",
        "bollard",
        "log::",
        "async ",
        "std::io",
        "std::fs",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "println!",
        "rand::",
    ]
    .map(str::to_owned);
    for name in ["ring", "fleet"] {
        let files: Vec<(String, String)> = layer(name)
            .into_iter()
            .filter(|(file, _)| !is_tests(file))
            .map(|(file, text)| (file, production(&text).to_owned()))
            .collect();
        assert_lacks(&files, &impure, "is impure");
    }
}

#[test]
fn large_libraries_have_their_places() {
    for (library, places) in [
        (
            "bollard",
            &[
                "src/runtime/docker",
                "src/runtime/engine_client",
                "src/fault_injection/container.rs",
            ][..],
        ),
        (
            "awc::",
            &[
                "src/hooks/webhook.rs",
                "src/upstream",
                "src/http/proxy",
                "src/actors/heartbeat_prober.rs",
                "src/healthcheck.rs",
                "src/experiments",
                "src/analysis",
                "src/ctl",
                "src/drill",
            ],
        ),
        ("clap", &["src/cli", "src/config"]),
        ("prometheus_client", &["src/metrics"]),
        ("procfs", &["src/metrics/process.rs"]),
        ("comfy_table", &["src/ring_cli/text.rs"]),
        ("ratatui", &["src/ctl/top"]),
        ("plotters", &["src/analysis/chart"]),
    ] {
        let elsewhere: Vec<(String, String)> = sources("src")
            .into_iter()
            .filter(|(file, _)| !places.iter().any(|place| file.starts_with(place)))
            .collect();
        assert_lacks(&elsewhere, &[library.to_owned()], "uses");
    }
}

/// The code of a file without comments and literals.
fn without_text(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            string_length(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            let from = 2 + hashes;
            rest[from..]
                .find(&end)
                .map_or(rest.len(), |at| from + at + end.len())
        } else if first == '\'' {
            char_length(rest)
        } else {
            let word = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
                .max(first.len_utf8());
            out.push_str(&rest[..word]);
            rest = &rest[word..];
            continue;
        };
        out.push(' ');
        out.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    out
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; of a lifetime only its quote.
fn char_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((from, _))) => {
            let from = from + 1;
            text[from..].find('\'').map_or(1, |at| from + at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The words of all names in a file: `retry_budget` and `RetryBudget` have two.
fn words(text: &str) -> BTreeSet<String> {
    let code = without_text(text);
    let names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut words = BTreeSet::new();
    // Of a constant the first word, as it is written.
    let constants = names.clone().filter(|name| name.len() > 1);
    let constants = constants.filter(|name| !name.contains(|c: char| c.is_lowercase()));
    words.extend(constants.filter_map(|name| Some(name.split('_').next()?.to_owned())));
    for part in names.flat_map(|name| name.split('_')) {
        let mut word = String::new();
        for c in part.chars() {
            let begins = c.is_uppercase() && word.ends_with(|last: char| last.is_lowercase());
            if begins {
                words.insert(std::mem::take(&mut word).to_lowercase());
            }
            word.push(c);
        }
        words.insert(word.to_lowercase());
    }
    words
}

#[test]
fn words_are_taken_from_names_alone() {
    let text =
        "fn take_TwoSteps<'a>(b: &'a str) { // lane\n r#\"bell\"#; \"a\\\"desk\"; '\\''; 'x' }";
    let found = words(text);
    for word in ["take", "two", "steps", "a", "b", "str"] {
        assert!(found.contains(word), "{word}");
    }
    for word in ["lane", "bell", "desk", "x"] {
        assert!(!found.contains(word), "{word}");
    }
}

#[test]
fn names_have_no_banned_word() {
    let mut wrong = Vec::new();
    let exempt = |&(place, words): &(&'static str, &'static [&'static str])| {
        words.iter().map(move |word| (place, *word))
    };
    let exempt: Vec<(&str, &str)> = EXEMPT_WORDS.iter().flat_map(exempt).collect();
    let mut unused: BTreeSet<_> = exempt.iter().collect();
    let places = ["src", "server", "tests", "benches"];
    for (file, text) in places.iter().flat_map(|place| sources(place)) {
        let mut found = words(&text);
        found.extend(words(&file.replace(['/', '.'], " ")));
        for (word, instead) in BANNED_WORDS
            .iter()
            .filter(|(word, _)| found.contains(*word))
        {
            let mut fitting = exempt
                .iter()
                .filter(|(place, exempt)| file.starts_with(place) && exempt == word);
            match fitting.next() {
                Some(used) => drop(unused.remove(used)),
                None => wrong.push(format!("{file}: {word} (say: {instead})")),
            }
        }
    }
    assert!(wrong.is_empty(), "banned words:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "exemptions without need: {unused:?}");
}

/// The types that a file declares at its top level.
fn types(text: &str) -> impl Iterator<Item = &str> {
    production(text).lines().filter_map(|line| {
        let line = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.strip_prefix(' ')?,
            None => line,
        };
        let line = line.strip_prefix("unsafe ").unwrap_or(line);
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let name = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
        name.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    })
}

#[test]
fn type_names_are_unique() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources("src") {
        if !is_tests(&file) {
            for name in types(&text) {
                places
                    .entry(name.to_owned())
                    .or_default()
                    .push(file.clone());
            }
        }
    }
    places.retain(|_, files| files.len() > 1);
    let listed: BTreeSet<&str> = TWICE.iter().copied().collect();
    let wrong: Vec<_> = places
        .iter()
        .filter(|(name, _)| !listed.contains(name.as_str()))
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(wrong.is_empty(), "declared twice:\n{}", wrong.join("\n"));
    let unused: Vec<_> = listed
        .iter()
        .filter(|n| !places.contains_key(**n))
        .collect();
    assert!(unused.is_empty(), "declared once: {unused:?}");
}

/// Files of one folder import each other in one direction. (A parent and its children may know
/// each other.)
#[test]
fn files_of_a_folder_have_no_circles() {
    let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (file, text) in sources("src") {
        let (folder, name) = file.rsplit_once('/').unwrap();
        let stem = name.strip_suffix(".rs").unwrap();
        let module = match stem {
            "mod" => folder.rsplit_once('/').unwrap_or((folder, "")),
            _ => (folder, stem),
        };
        if !is_tests(&file) && module.0 != "src" {
            // A child belongs to its parent's node in the folder above.
            let mut place = (module.0.to_owned(), module.1.to_owned());
            loop {
                let texts = folders.entry(place.0.clone()).or_default();
                let text = production(&text);
                let levels = file[place.0.len()..].matches('/').count();
                texts.entry(place.1.clone()).or_default().push_str(&imports(
                    text,
                    &place.0,
                    levels,
                    stem == "mod",
                ));
                match place.0.rsplit_once('/') {
                    Some((above, name)) if above.contains('/') => {
                        place = (above.to_owned(), name.to_owned());
                    }
                    _ => break,
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (folder, modules) in &folders {
        let uses = |from: &str, to: &str| modules[from].contains(&format!(" {to} "));
        for a in modules.keys() {
            for b in modules.keys().filter(|b| *b > a) {
                let listed = CIRCLES.iter().any(|(first, second)| {
                    *first == format!("{folder}/{a}") && *second == format!("{folder}/{b}")
                });
                if uses(a, b) && uses(b, a) && !listed {
                    wrong.push(format!("{folder}: {a} and {b}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "import each other:\n{}", wrong.join("\n"));
    let gone = |(a, b): &&(&str, &str)| {
        let (folder, a) = a.rsplit_once('/').unwrap();
        let b = b.rsplit_once('/').unwrap().1;
        let uses = |from: &str, to: &str| {
            let from = folders.get(folder).and_then(|modules| modules.get(from));
            from.is_some_and(|imports| imports.contains(&format!(" {to} ")))
        };
        !(uses(a, b) && uses(b, a))
    };
    let unused: Vec<_> = CIRCLES.iter().filter(gone).collect();
    assert!(unused.is_empty(), "no circle any more: {unused:?}");
}

/// The modules of `folder` that a file uses, `levels` folders below it, each between blanks.
fn imports(text: &str, folder: &str, levels: usize, is_mod: bool) -> String {
    let code = without_text(text);
    let supers = "super::".repeat(levels - usize::from(is_mod));
    let path = folder.replacen("src", "crate", 1).replace('/', "::") + "::";
    let mut found = String::from(" ");
    for prefix in [supers.as_str(), path.as_str()] {
        if prefix.is_empty() {
            continue;
        }
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with("super::") {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            let group = match rest.strip_prefix('{') {
                Some(group) => &group[..group.find('}').unwrap_or(group.len())],
                None => rest
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap(),
            };
            for name in group.split(',') {
                let name = name.trim().split("::").next().unwrap();
                found.push_str(name);
                found.push(' ');
            }
        }
    }
    found
}

/// A page with a broken link misleads.
#[test]
fn links_of_the_pages_exist() {
    let read = |page: &Path| std::fs::read_to_string(page).unwrap();
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                _ => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let found = heading.is_empty() || anchors(&read(&target)).any(|of| of == heading);
            assert!(found, "{}: {link}: no such heading", page.display());
        }
    }
    let lines = read(&root().join("ARCHITECTURE.md")).lines().count();
    assert!(lines <= 250, "{lines} lines");
}

/// Every page in Markdown of the project's folders.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().to_owned()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

/// What a link to a heading of this page ends with, as GitHub makes it of the heading.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}
