//! Clears away what a test has made, however that test ends, be it by SIGKILL.

use std::process::{Child, Command, Stdio};

/// A shell that waits for the end of its input, which no death of ours can withhold, and
/// sweeps then.
pub struct Broom(Child);

impl Broom {
    /// The script is told what to sweep by variables: who looks for processes by their
    /// arguments shall not find it.
    pub fn lean(script: &str, variables: &[(&str, &str)]) -> Self {
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

impl Drop for Broom {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
