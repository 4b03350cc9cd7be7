//! A service of a compose project, from what `docker compose config --format json` says.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::error::CtlError;
use super::options::ComposeFile;
use crate::api::ComposeDefinition;

/// Reads the service, and what it refers to: secrets of other services are none of the balancer's.
pub fn read(compose: &ComposeFile) -> Result<ComposeDefinition, CtlError> {
    let is_stdin = compose.file == Path::new("-");
    let place = match is_stdin {
        true => "standard input".to_owned(),
        false => compose.file.display().to_string(),
    };
    let text = match is_stdin {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(&compose.file),
    };
    text.map_err(|error| error.to_string())
        .and_then(|text| parse(&text, &compose.service, &compose.config_hash))
        .map_err(|wrong| CtlError::ComposeFile(place, wrong))
}

fn parse(text: &str, service: &str, config_hash: &str) -> Result<ComposeDefinition, String> {
    let wrong = "it is not what docker compose config --format json says";
    if text.trim().is_empty() {
        return Err(format!("{wrong}: it is empty"));
    }
    let project: Value = serde_json::from_str(text).map_err(|error| format!("{wrong}: {error}"))?;
    let services = project["services"]
        .as_object()
        .ok_or_else(|| format!("{wrong}: it has no services"))?;
    let definition = services.get(service).ok_or_else(|| {
        let names: Vec<_> = services.keys().map(String::as_str).collect();
        format!("there is no service {service}, but {}", names.join(", "))
    })?;
    let used = |kind: &str| match &definition[kind] {
        Value::Object(used) => used.keys().cloned().collect(),
        Value::Array(used) => {
            let sources = used.iter().filter_map(|one| one["source"].as_str());
            sources.map(str::to_owned).collect()
        }
        // Where none is named it is in the default one.
        _ if kind == "networks" => vec!["default".to_owned()],
        _ => Vec::new(),
    };
    let part = |kind: &str| {
        let used: Vec<String> = used(kind);
        let all = project[kind].as_object().into_iter().flatten();
        let all = all.filter(|(name, _)| used.contains(name));
        let part: Map<_, _> = all
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Value::Object(part)
    };
    Ok(ComposeDefinition {
        project: project["name"].as_str().unwrap_or_default().to_owned(),
        service: service.to_owned(),
        config_hash: config_hash.to_owned(),
        definition: definition.clone(),
        networks: part("networks"),
        volumes: part("volumes"),
        secrets: part("secrets"),
        configs: part("configs"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_service_uses_is_taken() {
        let project = json!({
            "name": "shop",
            "services": {
                "web": {"image": "a", "secrets": [{"source": "one"}], "networks": {"back": null}},
                "db": {"image": "b"},
            },
            "secrets": {"one": {"file": "/1"}, "two": {"file": "/2"}},
            "networks": {"back": {"name": "shop_back"}, "default": {"name": "shop_default"}},
        });
        let text = project.to_string();
        let web = parse(&text, "web", "abc").unwrap();
        assert_eq!(
            (&*web.project, &*web.service, &*web.config_hash),
            ("shop", "web", "abc")
        );
        assert_eq!(web.secrets, json!({"one": {"file": "/1"}}));
        assert_eq!(web.networks, json!({"back": {"name": "shop_back"}}));
        assert_eq!(web.volumes, json!({}));
        let db = parse(&text, "db", "abc").unwrap();
        assert_eq!(db.networks, json!({"default": {"name": "shop_default"}}));
        for (text, service, wrong) in [
            (text.as_str(), "api", "there is no service api, but db, web"),
            ("services:", "web", "it is not what docker compose config"),
            ("", "web", "it is empty"),
            ("{}", "web", "it has no services"),
        ] {
            let error = parse(text, service, "abc").unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
