//! Files of `KEY=VALUE` lines (`--env-file`), as `docker run --env-file` reads them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::read;

/// A larger file is not one of variables: the kernel takes no more for a process.
const MAX_FILE: u64 = 2 << 20;

/// Reads a file, or says all that is wrong with it, and what is allowed.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let allowed = "a file of KEY=VALUE lines, where KEY is neither PORT nor SERVER_ID";
    variables(path).map_err(|wrong| format!("{wrong}; allowed is {allowed}"))
}

fn variables(path: &Path) -> Result<Vec<(String, String)>, String> {
    let cannot_read = |error: std::io::Error| format!("cannot read: {error}");
    let file = File::open(path).map_err(cannot_read)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    if read.map_err(cannot_read)? as u64 > MAX_FILE {
        return Err("larger than 2 MiB".to_owned());
    }
    parse(&String::from_utf8(bytes).map_err(|_| "not UTF-8")?)
}

fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    let mut mistakes = Vec::new();
    let lines = text.trim_start_matches('\u{feff}').lines();
    for (number, line) in lines.enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match read::variable(line) {
            Ok(variable) => variables.push(variable),
            Err(wrong) => mistakes.push(format!("line {}: {wrong}", number + 1)),
        }
    }
    if mistakes.is_empty() {
        Ok(variables)
    } else {
        Err(mistakes.join("; "))
    }
}
