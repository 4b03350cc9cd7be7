//! The dashboard in a real Chromium: what is seen, and what its buttons do; the API's documentation.
//!
//! RINGMASTER names the program; without Chromium and chromedriver the tests are skipped, but not
//! where `CI=true`.

mod accessibility;
mod actions;
mod balancer;
mod browser;
mod docs;
mod fleet;
mod login;

use std::process::Child;

/// Ends with the test.
pub struct Program(Child);

impl Program {
    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        balancer::signal(&self.0.id().to_string(), name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
