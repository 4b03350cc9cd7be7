//! Balancers whose dashboards are looked at.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::Program;

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), pid])
        .status();
    assert!(sent.unwrap().success(), "kill -{name} {pid}");
}

/// It takes ports that are free then: one that was free before may be another test's by now.
fn command(args: &[&str]) -> Command {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let built = here.join("../../target/debug/ringmaster");
    let program = std::env::var_os("RINGMASTER").map_or(built, PathBuf::from);
    let mut command = Command::new(program);
    command
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(args)
        .stderr(Stdio::null());
    command
}

/// A balancer, and the address of its dashboard.
pub fn balancer(args: &[&str]) -> (Program, String) {
    let child = command(args).stdout(Stdio::piped()).spawn();
    let mut program = Program(child.expect("RINGMASTER names the program"));
    let stdout = program.0.stdout.take().unwrap();
    let url = read_until(BufReader::new(stdout), |line| {
        let call = line.strip_prefix("admin curl ")?.trim_end();
        Some(call.strip_suffix("api/v1/status")?.to_owned())
    });
    (program, url)
}

/// A balancer that takes tokens: `looker` may read, `changer` may change.
pub fn locked(name: &str, args: &[&str]) -> (Program, String) {
    let tokens = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&tokens, "read looker\nadmin changer\n").unwrap();
    let tokens = tokens.to_str().unwrap();
    balancer(&[&["--admin-token-file", tokens], args].concat())
}

/// A balancer that takes a token and was started on a terminal; the link that it shows there.
pub fn on_terminal(args: &[&str]) -> (Program, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let mut options = OpenOptions::new();
    let stdout = options
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = command(args);
    let command = command
        .env("RINGMASTER_ADMIN_TOKEN", "changer")
        .stdout(stdout);
    let program = Program(command.spawn().unwrap());
    let link = |line: &str| Some(line.strip_prefix("login ")?.split(' ').next()?.to_owned());
    let link = read_until(BufReader::new(File::from(terminal)), link);
    (program, link)
}

/// What the first line that is looked for has. The rest keeps being read, or the balancer would find
/// a broken pipe.
fn read_until<T>(
    output: BufReader<impl Read + Send + 'static>,
    find: impl Fn(&str) -> Option<T>,
) -> T {
    let mut output = output;
    loop {
        let mut line = String::new();
        assert_ne!(
            output.read_line(&mut line).unwrap(),
            0,
            "the balancer has ended"
        );
        if let Some(found) = find(&line) {
            std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
            return found;
        }
    }
}
