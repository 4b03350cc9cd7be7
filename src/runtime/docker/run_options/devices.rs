//! `--device` and `--gpus`.

use bollard::models::{DeviceMapping, DeviceRequest, HostConfig};

use super::fields::{self, key_and_value, word};
use super::some;
use crate::fleet::{ContainerOptions, DeviceOption, Gpus};

/// Reads `HOST[:CONTAINER][:PERMISSIONS]`.
pub(crate) fn device(text: &str) -> Result<DeviceOption, String> {
    const ALL: &str = "rwm";
    let parts: Vec<_> = text.split(':').collect();
    let is_mode = |text: &str| !text.is_empty() && text.chars().all(|c| ALL.contains(c));
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, ALL),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, ALL),
        [host, container, mode] if is_mode(mode) => (host, container, mode),
        [_, _, mode] => return Err(format!("{mode:?} are no permissions of r, w and m")),
        _ => return Err("has more than three parts".to_owned()),
    };
    if let Some(path) = [host, container]
        .into_iter()
        .find(|path| !path.starts_with('/'))
    {
        return Err(format!("{path:?} is no absolute path"));
    }
    Ok(DeviceOption {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// Reads `all`, a number, or the fields of a request.
pub(crate) fn gpus(text: &str) -> Result<Gpus, String> {
    let mut gpus = Gpus {
        count: None,
        device: Vec::new(),
        capabilities: Vec::new(),
        driver: None,
    };
    let count = |text: &str| match text {
        "all" => Ok(Some(-1)),
        text => match text.parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(format!(
                "{text:?} is neither all nor a number of GPUs from 1"
            )),
        },
    };
    let list = |text: &str| {
        let items = text.split(',').map(|item| word("an item", item));
        items.collect::<Result<Vec<_>, _>>()
    };
    for field in fields::split(text)? {
        match key_and_value(&field) {
            (number, None) if gpus.device.is_empty() => gpus.count = count(number)?,
            (id, None) => return Err(format!("write \"device=...,{id}\", with its quotes")),
            ("count", Some(value)) => gpus.count = count(value)?,
            ("device", Some(value)) => gpus.device = list(value)?,
            ("capabilities", Some(value)) => gpus.capabilities = list(value)?,
            ("driver", Some(value)) => gpus.driver = Some(word("a driver", value)?),
            (key, _) => {
                return Err(format!(
                    "{key:?} is none of count, device, capabilities, driver"
                ));
            }
        }
    }
    match (gpus.count, gpus.device.is_empty()) {
        (Some(_), false) => Err("count and device exclude one another".to_owned()),
        (None, true) => Ok(Gpus {
            count: Some(-1),
            ..gpus
        }),
        _ => Ok(gpus),
    }
}

/// Adds both to a description.
pub(super) fn apply(options: &ContainerOptions, host: &mut HostConfig) {
    let devices = options.device.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    host.devices = some(devices.collect());
    host.device_requests = options.gpus.as_ref().map(|gpus| {
        let gpu = std::iter::once("gpu".to_owned());
        let more = gpus.capabilities.iter().filter(|name| *name != "gpu");
        vec![DeviceRequest {
            driver: Some(gpus.driver.clone().unwrap_or_default()),
            count: gpus.count,
            device_ids: some(gpus.device.clone()),
            capabilities: Some(vec![gpu.chain(more.cloned()).collect()]),
            options: None,
        }]
    });
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        for (text, full) in [
            ("/dev/a", "/dev/a:/dev/a:rwm"),
            ("/dev/a:r", "/dev/a:/dev/a:r"),
            ("/dev/a:/dev/b", "/dev/a:/dev/b:rwm"),
            ("/dev/a:/dev/b:rw", "/dev/a:/dev/b:rw"),
        ] {
            assert_eq!(device(text).unwrap().to_string(), full);
        }
        assert_eq!(device("a").unwrap_err(), "\"a\" is no absolute path");
        assert_eq!(device("/a:b").unwrap_err(), "\"b\" is no absolute path");
        assert_eq!(
            device("/a:/b:x").unwrap_err(),
            "\"x\" are no permissions of r, w and m"
        );
        assert_eq!(
            device("/a:/b:r:w").unwrap_err(),
            "has more than three parts"
        );
    }

    #[test]
    fn gpus_are_read_as_docker_reads_them() {
        for (text, full) in [
            ("all", "all"),
            ("2", "2"),
            ("count=2,driver=nvidia", "2,driver=nvidia"),
            ("driver=nvidia", "all,driver=nvidia"),
            ("\"device=0,GPU-3a\"", "\"device=0,GPU-3a\""),
            (
                "all,\"capabilities=compute,utility\"",
                "all,\"capabilities=compute,utility\"",
            ),
        ] {
            assert_eq!(gpus(text).unwrap().to_string(), full);
        }
        assert_eq!(
            gpus("0").unwrap_err(),
            "\"0\" is neither all nor a number of GPUs from 1"
        );
        assert_eq!(
            gpus("device=0,1").unwrap_err(),
            "write \"device=...,1\", with its quotes"
        );
        assert_eq!(
            gpus("count=1,device=0").unwrap_err(),
            "count and device exclude one another"
        );
        assert!(gpus("speed=2").is_err() && gpus("").is_err());

        let options = ContainerOptions {
            gpus: Some(gpus("all,capabilities=utility").unwrap()),
            device: vec![device("/dev/a").unwrap()],
            ..Default::default()
        };
        let body = applied(&options, true);
        let request = &host(&body).device_requests.as_ref().unwrap()[0];
        assert_eq!(request.count, Some(-1));
        assert_eq!(
            request.capabilities.as_ref().unwrap()[0],
            ["gpu", "utility"]
        );
        let devices = host(&body).devices.as_ref().unwrap();
        assert_eq!(devices[0].path_on_host.as_deref(), Some("/dev/a"));
    }
}
