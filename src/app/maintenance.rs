//! `--maintenance-page`.

use std::path::Path;
use std::sync::Arc;

use super::AppError;
use crate::config::ServerOptions;
use crate::fleet::{DEFAULT_PAGE, MAX_PAGE};

/// The page of maintenances that have none of their own.
pub fn read_page(options: &ServerOptions) -> Result<Arc<str>, AppError> {
    let Some(path) = &options.maintenance_page else {
        return Ok(DEFAULT_PAGE.into());
    };
    let read = read(path);
    let read = read.map_err(|wrong| AppError::MaintenancePage(path.display().to_string(), wrong));
    read.map(Arc::from)
}

fn read(path: &Path) -> Result<String, String> {
    let page = std::fs::read_to_string(path).map_err(|error| format!("cannot read: {error}"))?;
    match page.len() {
        0 => Err("it is empty".to_owned()),
        size if size > MAX_PAGE => {
            Err(format!("it has {size} bytes: up to {MAX_PAGE} are allowed"))
        }
        _ => Ok(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_that_cannot_be_shown_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        assert!(read(&path).unwrap_err().starts_with("cannot read: "));
        for (text, wrong) in [
            (String::new(), "it is empty"),
            (
                "x".repeat(MAX_PAGE + 1),
                "it has 65537 bytes: up to 65536 are allowed",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Err(wrong.to_owned()));
        }
        std::fs::write(&path, "<h1>Soon</h1>").unwrap();
        assert_eq!(read(&path).unwrap(), "<h1>Soon</h1>");
    }
}
