//! Removes what a test has created, however that test ends, SIGKILL included.

use std::process::{Child, Command, Stdio};

/// A shell that waits for the end of its input, which no death of ours can withhold, and
/// sweeps then.
pub struct Cleanup(Child);

impl Cleanup {
    /// The script is told what to sweep by variables: who looks for processes by their
    /// arguments shall not find it.
    pub fn start(script: &str, variables: &[(&str, &str)]) -> Self {
        use std::os::unix::process::CommandExt;
        let shell = Command::new("sh")
            .args(["-c", &format!("cat >/dev/null\n{script}")])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is not meant for it.
            .process_group(0)
            .spawn();
        Self(shell.unwrap())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
