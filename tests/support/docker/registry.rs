//! Debian's registry with one user: its files, and those of clients. A test starts the program itself.

use std::process::Command;

/// The user's name and password. The password's letters have codes that are written differently in the
/// two alphabets of base64.
pub const USER: &str = "me";
pub const PASSWORD: &str = "se~cr?et>?~>";

/// A folder with the registry's settings and its images.
pub struct RegistryFiles {
    /// Where it is to listen: the registry's name in the names of images.
    pub address: String,
    pub folder: tempfile::TempDir,
}

impl RegistryFiles {
    /// None without the programs, which under CI is a failure.
    pub fn new(address: String) -> Option<Self> {
        for program in ["docker-registry", "htpasswd"] {
            let found = Command::new("which").arg(program).output();
            if !found.is_ok_and(|output| output.status.success()) {
                super::skip(&format!("there is no {program}"));
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let users = Command::new("htpasswd")
            .args(["-Bbn", USER, PASSWORD])
            .output();
        std::fs::write(folder.path().join("users"), users.unwrap().stdout).unwrap();
        let place = folder.path().display();
        let settings = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\n\
             http: {{addr: \"{address}\"}}\n\
             auth: {{htpasswd: {{realm: test, path: {place}/users}}}}\n"
        );
        std::fs::write(folder.path().join("registry.yml"), settings).unwrap();
        Some(Self { address, folder })
    }

    /// The file that `docker-registry serve` takes.
    pub fn settings(&self) -> String {
        self.folder
            .path()
            .join("registry.yml")
            .display()
            .to_string()
    }

    /// A folder for `DOCKER_CONFIG` with this configuration.
    pub fn config(&self, name: &str, text: &str) -> String {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), text).unwrap();
        folder.display().to_string()
    }

    /// The same with another password than the user has.
    pub fn wrong(&self) -> String {
        let auth = r#"{"auth": "bWU6d3Jvbmc="}"#;
        let text = format!(r#"{{"auths": {{"{}": {auth}}}}}"#, self.address);
        self.config("wrong", &text)
    }

    /// The same in which `docker login` has put the right one. `docker` runs the client.
    pub fn logged_in(&self, docker: impl Fn(&[&str])) -> String {
        let config = self.config("login", "{}");
        let address = self.address.as_str();
        docker(&[
            "--config", &config, "login", "-u", USER, "-p", PASSWORD, address,
        ]);
        config
    }
}
