//! Reads texts that follow a rule: paths, names, images, command lines, variables, headers.

use std::path::PathBuf;

use actix_web::http::header::{HeaderName, HeaderValue};

use crate::runtime::docker::ComposeService;

use crate::h1::header_name::is_token_byte;

/// Headers that say how the request is framed, or what becomes of its connection.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads a request path.
pub(crate) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("does not start with '/'".to_owned());
    }
    // What is not visible ASCII cannot stand in a request line; a fragment is never sent.
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(c) => Err(format!("{c:?} cannot stand in a path")),
        None => Ok(text.to_owned()),
    }
}

/// Reads an image's name. Whether it exists is the engine's to say.
pub(crate) fn image(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("not an image's name".to_owned())
    }
}

/// Reads a name that engine objects can have.
pub(super) fn engine_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= 63 && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("not a name".to_owned())
    }
}

/// Reads the name or id of a container. Whether it exists is the engine's to say.
pub(super) fn container(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good) {
        true => Ok(text.to_owned()),
        false => Err("no container's name".to_owned()),
    }
}

/// Reads a service of compose, with its project or without.
pub(super) fn service(text: &str) -> Result<ComposeService, String> {
    let (project, name) = match text.split_once('/') {
        Some(("", _)) => return Err("the project is empty".to_owned()),
        Some((project, name)) => (engine_name(project)?, name),
        None => (String::new(), text),
    };
    let name = engine_name(name)?;
    Ok(ComposeService { project, name })
}

/// Reads the path of a file.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("empty".to_owned()),
        text if text.ends_with('/') => Err("a directory".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

/// Reads the name of a header that responses are given.
pub(super) fn replica_header(text: &str) -> Result<String, String> {
    match text.parse::<HeaderName>() {
        Ok(name) if !OWN_HEADERS.contains(&name.as_str()) => Ok(text.to_owned()),
        Ok(name) => Err(format!("{name} is the balancer's own")),
        Err(_) => Err("not a header's name".to_owned()),
    }
}

/// Reads the name in Via (RFC 9110, section 7.6.3).
pub(super) fn via(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("not a name".to_owned())
    }
}

/// Reads the name of a network in which every container has an address of its own.
pub(super) fn network(text: &str) -> Result<String, String> {
    match text {
        "host" | "none" => Err("gives a replica no address".to_owned()),
        text => engine_name(text),
    }
}

/// Reads a preference of placement, as Docker writes it, and returns the label.
pub(super) fn spread(text: &str) -> Result<String, String> {
    let descriptor = text
        .strip_prefix("spread=")
        .ok_or("does not start with spread=")?;
    let prefixes = ["node.labels.", "engine.labels."].into_iter();
    let label = prefixes
        .filter_map(|prefix| descriptor.strip_prefix(prefix))
        .next();
    match label {
        Some(label) if !label.is_empty() && !label.contains(char::is_whitespace) => {
            Ok(descriptor.to_owned())
        }
        _ => Err("no label of nodes".to_owned()),
    }
}

/// Splits a command line into words, as a shell would.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    if text.contains('\0') {
        return Err("has a NUL character in it".to_owned());
    }
    let words = shlex::split(text).ok_or_else(|| "a quote is not closed".to_owned())?;
    match words.first().map(String::as_str) {
        None => Err("is empty".to_owned()),
        Some("") => Err("the program's name is empty".to_owned()),
        Some(_) => Ok(words),
    }
}

/// Reads `KEY=VALUE`.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("a value is missing".to_owned());
    };
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if key.is_empty() || key.contains(bad) {
        return Err(format!("{key:?} is not a variable's name"));
    }
    if value.contains('\0') {
        return Err("has a NUL character in it".to_owned());
    }
    match key {
        "PORT" | "SERVER_ID" => Err(format!("{key} is set by ringmaster")),
        _ => Ok((key.to_owned(), value.to_owned())),
    }
}

/// Reads a header as it stands in a request; its name in lower case.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("has no ':'")?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "not a header's name")?;
    if OWN_HEADERS.contains(&name.as_str()) {
        return Err(format!("{name} is set by the balancer alone"));
    }
    let value = value.trim();
    let is_text = HeaderValue::from_str(value).is_ok_and(|value| value.to_str().is_ok());
    match is_text {
        true => Ok((name.to_string(), value.to_owned())),
        false => Err("its value is not text in ASCII".to_owned()),
    }
}

/// Reads the name of a cookie.
pub(super) fn cookie_name(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(is_token_byte) {
        true => Ok(text.to_owned()),
        false => Err("not the name of a cookie".to_owned()),
    }
}

/// Reads a text of any kind.
pub(super) fn not_empty(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
