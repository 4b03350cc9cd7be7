//! Anonymous volumes, which the engine has given their names: a replica's next container has those of the
//! one before. Pure: JSON of the engine in, JSON for the engine out.

use serde_json::{Value, json};

use super::template::strings;

/// Attaches the volumes that a container has to its successor.
pub(super) fn keep(body: &mut Value, mounts: &Value) {
    for (name, target) in volumes(mounts) {
        attach(body, name, target, true);
    }
}

/// Attaches the anonymous volumes that a container has to one of another definition, where that, or its
/// image, has an anonymous volume at the same place.
pub(super) fn inherit(body: &mut Value, mounts: &Value, image_volumes: &Value) {
    for (name, target) in volumes(mounts).filter(|(name, _)| is_anonymous(name)) {
        attach(body, name, target, image_volumes.get(target).is_some());
    }
}

/// Forgets which anonymous volumes a container has: they are its replica's alone.
pub(super) fn forget(body: &mut Value) {
    let host = &mut body["HostConfig"];
    for mount in host["Mounts"].as_array_mut().into_iter().flatten() {
        if mount["Type"] == "volume"
            && mount["Source"].as_str().is_some_and(is_anonymous)
            && let Some(mount) = mount.as_object_mut()
        {
            mount.remove("Source");
        }
    }
    if let Some(binds) = host["Binds"].as_array_mut() {
        binds.retain(|bind| {
            let source = bind.as_str().and_then(|bind| bind.split(':').next());
            !source.is_some_and(is_anonymous)
        });
    }
}

/// Name and place of the volumes among a container's mounts.
fn volumes(mounts: &Value) -> impl Iterator<Item = (&str, &str)> {
    let mounts = mounts.as_array().into_iter().flatten();
    mounts
        .filter(|mount| mount["Type"] == "volume")
        .filter_map(|mount| Some((mount["Name"].as_str()?, mount["Destination"].as_str()?)))
}

/// Attaches a volume where the definition asks for an anonymous one; if it mentions no such place, only
/// if `undeclared` ones are attached, too.
fn attach(body: &mut Value, name: &str, target: &str, undeclared: bool) {
    let host = &mut body["HostConfig"];
    let declared = host["Mounts"].as_array_mut().into_iter().flatten();
    let mut declared = declared.filter(|declared| declared["Target"] == target);
    if let Some(declared) = declared.next() {
        let source = declared["Source"].as_str().unwrap_or_default();
        if declared["Type"] == "volume" && source.is_empty() {
            declared["Source"] = json!(name);
        }
        return;
    }
    let mut binds = strings(&host["Binds"]);
    let mut targets = binds.iter().map(|bind| bind.split(':').nth(1));
    if undeclared && targets.all(|bound| bound != Some(target)) {
        binds.push(format!("{name}:{target}"));
        host["Binds"] = json!(binds);
    }
}

/// Whether the engine has given a volume its name.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_definition_gets_a_volume_where_it_has_an_anonymous_one() {
        let name = "ab".repeat(32);
        let body = json!({"HostConfig": {
            "Mounts": [
                {"Type": "volume", "Target": "/cache"},
                {"Type": "volume", "Target": "/named", "Source": "data"},
                {"Type": "tmpfs", "Target": "/scratch"},
            ],
            "Binds": ["/srv:/bound"],
        }});
        let mount = |target: &str| json!({"Type": "volume", "Name": name, "Destination": target});
        let targets = [
            "/cache",
            "/named",
            "/scratch",
            "/bound",
            "/of-image",
            "/gone",
        ];
        let mounts = json!(targets.map(mount));
        let mut inherited = body.clone();
        inherit(
            &mut inherited,
            &mounts,
            &json!({"/of-image": {}, "/bound": {}}),
        );
        let host = &inherited["HostConfig"];
        let sources: Vec<_> = (0..3).map(|i| host["Mounts"][i].get("Source")).collect();
        assert_eq!(sources, [Some(&json!(name)), Some(&json!("data")), None]);
        let of_image = format!("{name}:/of-image");
        assert_eq!(host["Binds"], json!(["/srv:/bound", of_image]));
        // The same without them is what was before.
        forget(&mut inherited);
        assert_eq!(inherited, body);
        // A successor has all of them, and those with a name.
        let mut kept = body;
        keep(
            &mut kept,
            &json!([mount("/gone"), {"Type": "volume", "Name": "x", "Destination": "/y"}]),
        );
        let binds = json!(["/srv:/bound", format!("{name}:/gone"), "x:/y"]);
        assert_eq!(kept["HostConfig"]["Binds"], binds);
    }
}
