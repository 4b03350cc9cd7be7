//! Credentials for private registries, as `docker login` keeps them: in Docker's configuration
//! file, or with a credential helper that it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::auth::DockerCredentials;
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::sys::orphans::OwnChild;

/// How long a credential helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of Docker's own registry in the configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The user name that marks a helper's secret as a token.
const TOKEN_USER: &str = "<token>";

/// The parts of Docker's configuration that concern registries.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: HashMap<String, StoredAuth>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct StoredAuth {
    /// `USER:PASSWORD` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// The output of a credential helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// What is sent with a call that has a registry asked for an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryAuth {
    header: Option<HeaderValue>,
    /// Which credentials these are, for people; with what to do if there are none.
    origin: String,
}

impl RegistryAuth {
    /// The credentials for the registry of an image.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read, or a credential helper fails. The message continues a
    /// sentence after a colon.
    pub(crate) async fn of(image: &str) -> Result<Self, String> {
        let found = credentials(image).await?;
        let header = found.as_ref().and_then(|credentials| {
            let json = serde_json::to_vec(credentials).ok()?;
            // Engines take this alphabet alone, and read what is in another one as no credentials.
            let mut header = HeaderValue::try_from(URL_SAFE.encode(json)).ok()?;
            header.set_sensitive(true);
            Some(header)
        });
        Ok(Self {
            header,
            origin: origin(image, found.as_ref()),
        })
    }

    /// The value of the header for them.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.header.clone()
    }

    /// The reason for which a registry has refused something: with the credentials that were sent, if
    /// these may be the cause.
    pub(crate) fn explain(&self, reason: String) -> String {
        let words = ["denied", "unauthorized", "authentication", "credentials"];
        match words.iter().any(|word| reason.contains(word)) {
            true => format!("{reason}; {}", self.origin),
            false => reason,
        }
    }
}

/// Which credentials there are for the registry of an image.
fn origin(image: &str, credentials: Option<&DockerCredentials>) -> String {
    let registry = registry_of(image);
    let place = config_path().map_or_else(
        || "Docker's configuration (neither DOCKER_CONFIG nor HOME is set)".to_owned(),
        |path| path.display().to_string(),
    );
    match credentials.map(|found| &found.username) {
        Some(Some(user)) => format!("{place} has user {user:?} for {registry}"),
        Some(None) => format!("{place} has a token for {registry}"),
        None => format!("{place} has no credentials for {registry}: docker login adds them"),
    }
}

/// The path of Docker's configuration: in `DOCKER_CONFIG`, else in `.docker` in the home folder.
fn config_path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = match variable("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&variable("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// The credentials for the registry of an image; `None` if the configuration has none for it.
async fn credentials(image: &str) -> Result<Option<DockerCredentials>, String> {
    let Some(path) = config_path() else {
        return Ok(None);
    };
    let place = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = match read.map_err(std::io::Error::other).flatten() {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {place}: {error}")),
    };
    let config = serde_json::from_str::<DockerConfig>(&text);
    let config = config.map_err(|error| format!("cannot read {place}: {error}"))?;
    let registry = registry_of(image);
    if let Some(helper) = config.helper_for(registry)
        && let Some(found) = run_helper(helper, registry).await?
    {
        return Ok(Some(found));
    }
    let stored = config.stored_for(registry);
    stored
        .transpose()
        .map_err(|wrong| format!("the credentials for {registry} in {place}: {wrong}"))
}

/// The registry of an image, by the name that the configuration uses.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => DOCKER_HUB,
        // A first part with a dot or a port is a host; anything else is a name on Docker Hub.
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

impl DockerConfig {
    fn helper_for(&self, registry: &str) -> Option<&str> {
        let helper = find(&self.cred_helpers, registry).unwrap_or(&self.creds_store);
        (!helper.is_empty()).then_some(helper)
    }

    fn stored_for(&self, registry: &str) -> Option<Result<DockerCredentials, String>> {
        let stored = find(&self.auths, registry)?;
        if *stored == StoredAuth::default() {
            // `docker login` leaves an empty entry where a helper has the credentials.
            return None;
        }
        Some(stored.read(registry))
    }
}

/// The entry of a registry. Old entries are URLs (`https://HOST/v1/`).
fn find<'c, T>(entries: &'c HashMap<String, T>, registry: &str) -> Option<&'c T> {
    fn host(key: &str) -> &str {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
    let by_host = || {
        let mut all = entries.iter();
        all.find(|(key, _)| host(key) == host(registry))
            .map(|(_, entry)| entry)
    };
    entries.get(registry).or_else(by_host)
}

impl StoredAuth {
    fn read(&self, registry: &str) -> Result<DockerCredentials, String> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (mut username, mut password) = (given(&self.username), given(&self.password));
        if !self.auth.is_empty() {
            let decoded = STANDARD.decode(self.auth.trim());
            let decoded = decoded.map_err(|_| "auth is not base64".to_owned())?;
            let decoded = String::from_utf8(decoded).map_err(|_| "auth is not text".to_owned())?;
            // Docker pads it with NUL.
            let pair = decoded.trim_end_matches('\0').split_once(':');
            let (user, secret) = pair.ok_or("auth is not USER:PASSWORD in base64")?;
            (username, password) = (given(user), given(secret));
        }
        Ok(DockerCredentials {
            username,
            password,
            identitytoken: given(&self.identitytoken),
            registrytoken: given(&self.registrytoken),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        })
    }
}

/// Runs `docker-credential-NAME`; `None` if it has no credentials for this registry.
async fn run_helper(name: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    let program = format!("docker-credential-{name}");
    let failed = |error: std::io::Error| format!("cannot run {program}: {error}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let _own = child.id().map(OwnChild::register);
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input reports the error itself.
        let _ = stdin.write_all(registry.as_bytes()).await;
    }
    let answered = tokio::time::timeout(HELPER_TIMEOUT, child.wait_with_output()).await;
    let output = answered
        .map_err(|_| format!("{program} does not answer within {HELPER_TIMEOUT:?}"))?
        .map_err(failed)?;
    read_helper(&program, registry, output.status.success(), &output.stdout)
}

fn read_helper(
    program: &str,
    registry: &str,
    is_success: bool,
    answer: &[u8],
) -> Result<Option<DockerCredentials>, String> {
    if !is_success {
        // The protocol's error message, on stdout.
        let said = String::from_utf8_lossy(answer);
        return match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(format!("{program} says {:?}", said.trim())),
        };
    }
    let answer = serde_json::from_slice::<HelperAnswer>(answer);
    let HelperAnswer { username, secret } =
        answer.map_err(|error| format!("{program} printed an invalid answer: {error}"))?;
    let mut credentials = DockerCredentials {
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    };
    match username == TOKEN_USER {
        true => credentials.identitytoken = Some(secret),
        false => (credentials.username, credentials.password) = (Some(username), Some(secret)),
    }
    Ok(Some(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_is_the_beginning_of_the_image_name() {
        for (image, registry) in [
            ("shop", DOCKER_HUB),
            ("me/shop:1", DOCKER_HUB),
            ("docker.io/me/shop", DOCKER_HUB),
            ("registry.example/shop:1.4", "registry.example"),
            ("127.0.0.1:5000/shop", "127.0.0.1:5000"),
            ("localhost/shop", "localhost"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }

    #[test]
    fn credentials_are_found_like_docker_does() {
        let text = r#"{"auths": {
            "https://old.example/v1/": {"auth": "bWU6c2VjcmV0OjE="},
            "token.example": {"identitytoken": "abc"},
            "plain.example": {"username": "me", "password": "x"},
            "kept.example": {},
            "wrong.example": {"auth": "%"}},
            "credHelpers": {"cloud.example": "cloud"}, "HttpHeaders": {}}"#;
        let config: DockerConfig = serde_json::from_str(text).unwrap();
        let stored = |registry: &str| config.stored_for(registry).map(Result::unwrap);
        let user = |registry: &str| {
            let found = stored(registry).unwrap();
            (found.username.unwrap(), found.password.unwrap())
        };
        assert_eq!(user("old.example"), ("me".into(), "secret:1".into()));
        assert_eq!(user("plain.example"), ("me".into(), "x".into()));
        let token = stored("token.example").unwrap().identitytoken;
        assert_eq!(token.as_deref(), Some("abc"));
        assert!(stored("kept.example").is_none() && stored("other.example").is_none());
        assert!(config.stored_for("wrong.example").unwrap().is_err());
        assert_eq!(config.helper_for("cloud.example"), Some("cloud"));
        assert_eq!(config.helper_for("old.example"), None);
        let config: DockerConfig = serde_json::from_str(r#"{"credsStore": "pass"}"#).unwrap();
        assert_eq!(config.helper_for(DOCKER_HUB), Some("pass"));
    }

    #[test]
    fn what_a_registry_refuses_is_told_with_the_credentials() {
        let me = DockerCredentials {
            username: Some("me".to_owned()),
            ..DockerCredentials::default()
        };
        let origin = origin("registry.example/shop:1", Some(&me));
        assert!(origin.ends_with(r#"has user "me" for registry.example"#));
        let auth = RegistryAuth {
            header: None,
            origin: "no credentials".to_owned(),
        };
        let explained = auth.explain("unauthorized: who are you".to_owned());
        assert_eq!(explained, "unauthorized: who are you; no credentials");
        assert_eq!(auth.explain("no route".to_owned()), "no route");
    }

    #[test]
    fn helper_gives_a_password_a_token_or_nothing() {
        let read = |is_success, answer: &str| {
            read_helper("docker-credential-x", "r", is_success, answer.as_bytes())
        };
        let found = read(true, r#"{"ServerURL":"r","Username":"me","Secret":"s"}"#);
        assert_eq!(found.unwrap().unwrap().password.as_deref(), Some("s"));
        let found = read(
            true,
            r#"{"ServerURL":"r","Username":"<token>","Secret":"s"}"#,
        );
        assert_eq!(found.unwrap().unwrap().identitytoken.as_deref(), Some("s"));
        let found = read(false, "credentials not found in native keychain\n");
        assert_eq!(found, Ok(None));
        assert!(read(false, "no agent").unwrap_err().contains("no agent"));
        assert!(read(true, "{}").is_err());
    }
}
