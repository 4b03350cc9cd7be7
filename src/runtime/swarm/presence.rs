//! Which balancers serve the fleet: each has a config object that it renews.
//!
//! An object says which load its balancer has, where `--target-in-flight` asks for that.
//!
//! The time of a renewal is that of the managers, who stamp each change. So the clocks of the
//! balancers need not agree: a balancer renews its own, and compares.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use log::debug;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api::{ObjectKind, SwarmApi, SwarmError, Versioned};
use super::labels::{BALANCER, FLEET, IDLE, LOAD};
use super::names::presence_name;
use crate::fleet::{BALANCER_LIFETIME, BalancerReport, scaling_role};
use crate::runtime::{BalancerLoad, ScalingRole, balancer_name};

/// How often a balancer renews its object: each is a write to the managers' log.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// How long a balancer that lives may take for its next renewal, and how often that is looked for.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);
const RENEWAL_PAUSE: Duration = Duration::from_millis(250);

/// A config object cannot be empty.
const CONTENT: &str = "eA==";

/// A balancer's object.
pub(super) struct Presence {
    fleet: String,
    name: String,
    /// The load that it says this balancer has.
    load: Cell<Option<BalancerLoad>>,
}

/// When an object was changed last, by the managers' clock.
fn updated_at(object: &Value) -> Option<SystemTime> {
    humantime::parse_rfc3339(object["UpdatedAt"].as_str()?).ok()
}

/// For how long an object had not been renewed at a time.
fn age(now: SystemTime, seen: SystemTime) -> Duration {
    now.duration_since(seen).unwrap_or_default()
}

/// The objects of other balancers, and when they were renewed last.
type Others = HashMap<String, SystemTime>;

/// Those that may live: renewed within their life before ours was. Pure.
fn others(objects: &[Value], own: &str) -> Others {
    let is_own = |object: &&Value| object["Spec"]["Name"] == own;
    let Some(now) = objects.iter().find(is_own).and_then(updated_at) else {
        return Others::new();
    };
    let others = objects.iter().filter(|object| !is_own(object));
    others
        .filter_map(|object| {
            let seen = updated_at(object).filter(|seen| age(now, *seen) < BALANCER_LIFETIME)?;
            Some((object["Spec"]["Name"].as_str()?.to_owned(), seen))
        })
        .collect()
}

/// Whether one of them has been renewed since. Pure.
fn is_renewed(others: &Others, objects: &[Value]) -> bool {
    objects.iter().any(|object| {
        let name = object["Spec"]["Name"].as_str().unwrap_or_default();
        let before = others.get(name);
        before.is_some_and(|before| updated_at(object).is_some_and(|now| now > *before))
    })
}

/// Whether no other balancer that has renewed its object in time has a name before this. Pure.
fn is_first(objects: &[Value], own: &str) -> bool {
    let comes_before = |object: &&Value| object["Spec"]["Name"].as_str() < Some(own);
    let own_and_before = objects
        .iter()
        .filter(|object| object["Spec"]["Name"] == own || comes_before(object));
    others(&own_and_before.cloned().collect::<Vec<_>>(), own).is_empty()
}

/// What the balancers of these objects have said last. Now is when the newest was renewed: by the
/// managers' clock, and later than by it no report can be. Pure.
fn reports(objects: &[Value]) -> Vec<BalancerReport<'_>> {
    let now = objects.iter().filter_map(updated_at).max();
    let reports = objects.iter().filter_map(|object| {
        let labels = &object["Spec"]["Labels"];
        let number = |label: &str| labels[label].as_str()?.parse::<f64>().ok();
        let load = number(LOAD).filter(|load| load.is_finite() && *load >= 0.0);
        let idle_for = number(IDLE).and_then(|idle| Duration::try_from_secs_f64(idle).ok());
        Some(BalancerReport {
            name: object["Spec"]["Name"].as_str()?,
            age: age(now?, updated_at(object)?),
            load: load
                .zip(idle_for)
                .map(|(load, idle_for)| BalancerLoad { load, idle_for }),
        })
    });
    reports.collect()
}

/// The names of the objects that balancers have left which died. Pure.
fn stale(objects: &[Value], own: &str) -> Vec<String> {
    let is_own = |object: &&Value| object["Spec"]["Name"] == own;
    let Some(now) = objects.iter().find(is_own).and_then(updated_at) else {
        return Vec::new();
    };
    let dead = objects.iter().filter(|object| {
        !is_own(object)
            && updated_at(object).is_some_and(|seen| age(now, seen) >= BALANCER_LIFETIME)
    });
    let names = dead.filter_map(|object| object["Spec"]["Name"].as_str());
    names.map(str::to_owned).collect()
}

impl Presence {
    /// That of another balancer of a fleet; it is not there yet.
    pub(super) fn new(fleet: &str) -> Self {
        Self::of(fleet, &format!("{:016x}", fastrand::u64(..)))
    }

    /// That of this process, which has one however often it has to begin.
    pub(super) fn of_this_process(fleet: &str) -> Self {
        Self::of(fleet, balancer_name())
    }

    fn of(fleet: &str, balancer: &str) -> Self {
        Self {
            fleet: fleet.to_owned(),
            name: presence_name(fleet, balancer),
            load: Cell::new(None),
        }
    }

    /// The name of its object.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the balancer of this object lives, of whatever fleet: it has renewed it within its life.
    pub(super) async fn lives(&self, api: &SwarmApi, name: &str) -> Result<bool, SwarmError> {
        let seen = match api.get(&format!("/configs/{name}")).await {
            Err(error) if error.is_missing() => return Ok(false),
            found => updated_at(&found?),
        };
        let now = updated_at(&api.get(&format!("/configs/{}", self.name)).await?);
        Ok(matches!((now, seen), (Some(now), Some(seen)) if age(now, seen) < BALANCER_LIFETIME))
    }

    /// Tells that this balancer serves the fleet, and clears away what dead ones have left.
    pub(super) async fn appear(&self, api: &SwarmApi) -> Result<(), SwarmError> {
        self.renew(api).await?;
        for name in stale(&self.balancers(api).await?, &self.name) {
            debug!("swarm: removing what a balancer has left that died: {name}");
            api.remove(ObjectKind::Config, &name).await?;
        }
        Ok(())
    }

    /// Renews the object; creates it again if it is gone.
    pub(super) async fn renew(&self, api: &SwarmApi) -> Result<(), SwarmError> {
        let name = &self.name;
        let labels = |count: u64| {
            let mut labels = json!({ FLEET: self.fleet, BALANCER: count.to_string() });
            if let Some(BalancerLoad { load, idle_for }) = self.load.get() {
                labels[LOAD] = load.to_string().into();
                labels[IDLE] = idle_for.as_secs().to_string().into();
            }
            labels
        };
        match api.find(ObjectKind::Config, name).await {
            Ok(found) => {
                let count = found.spec["Labels"][BALANCER].as_str();
                let count = count.and_then(|count| count.parse::<u64>().ok());
                let mut spec = found.spec.clone();
                spec["Labels"] = labels(count.unwrap_or_default().wrapping_add(1));
                api.update(ObjectKind::Config, &Versioned { spec, ..found })
                    .await
            }
            Err(error) if error.is_missing() => {
                let spec = json!({ "Name": name, "Data": CONTENT, "Labels": labels(1) });
                api.post("/configs/create", &spec).await.map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether another balancer serves the fleet: it renews its object within a while. One that has just
    /// been killed has left an object that looks the same. Without an answer none is known.
    pub(super) async fn is_shared(&self, api: &SwarmApi) -> bool {
        let asked = async {
            self.renew(api).await?;
            let others = others(&self.balancers(api).await?, &self.name);
            self.awaits_renewal(api, &others).await
        };
        asked.await.unwrap_or_else(|error| {
            debug!("swarm: other balancers are not known: {error}");
            false
        })
    }

    /// Whether the balancer of this name has renewed its object in time.
    pub(super) async fn is_present(
        &self,
        api: &SwarmApi,
        balancer: &str,
    ) -> Result<bool, SwarmError> {
        self.renew(api).await?;
        let others = others(&self.balancers(api).await?, &self.name);
        Ok(others.contains_key(&presence_name(&self.fleet, balancer)))
    }

    /// Whether this balancer comes first, in the order of names, of those that serve the fleet. Without an
    /// answer: no.
    pub(super) async fn is_first(&self, api: &SwarmApi) -> bool {
        let asked = async {
            self.renew(api).await?;
            self.balancers(api).await
        };
        let objects = asked.await;
        objects.is_ok_and(|objects| is_first(&objects, &self.name))
    }

    /// Notes the load of this balancer, which the next renewal says.
    pub(super) fn note_load(&self, load: BalancerLoad) {
        self.load.set(Some(load));
    }

    /// Who scales the fleet, by what the objects say. Without an answer that is not known.
    pub(super) async fn scaling_role(&self, api: &SwarmApi) -> ScalingRole {
        let objects = self.balancers(api).await;
        objects.map_or(ScalingRole::Unknown, |objects| {
            scaling_role(&reports(&objects), &self.name)
        })
    }

    /// Ends the presence of this balancer. What is left of it without an answer is cleared away by others.
    pub(super) async fn end(&self, api: &SwarmApi) {
        if let Err(error) = api.remove(ObjectKind::Config, &self.name).await {
            debug!("swarm: the presence {} is left behind: {error}", self.name);
        }
    }

    /// Ends the presence of this balancer; whether another one serves the fleet. Of two that end at once
    /// the later one finds none.
    pub(super) async fn leave(&self, api: &SwarmApi) -> bool {
        let asked = async {
            self.renew(api).await?;
            let others = others(&self.balancers(api).await?, &self.name);
            api.remove(ObjectKind::Config, &self.name).await?;
            let is_shared = self.awaits_renewal(api, &others).await?;
            if !is_shared {
                for name in others.keys() {
                    api.remove(ObjectKind::Config, name).await?;
                }
            }
            Ok::<_, SwarmError>(is_shared)
        };
        asked.await.unwrap_or_else(|error| {
            debug!("swarm: other balancers are not known: {error}");
            false
        })
    }

    /// Whether one of these renews its object within the time that it has for that.
    async fn awaits_renewal(&self, api: &SwarmApi, others: &Others) -> Result<bool, SwarmError> {
        let begun = Instant::now();
        while !others.is_empty() && begun.elapsed() < RENEWAL_TIMEOUT {
            sleep(RENEWAL_PAUSE).await;
            let objects = self.balancers(api).await?;
            if is_renewed(others, &objects) {
                return Ok(true);
            }
            let is_there = |name: &String| objects.iter().any(|o| o["Spec"]["Name"] == **name);
            if !others.keys().any(is_there) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    async fn balancers(&self, api: &SwarmApi) -> Result<Vec<Value>, SwarmError> {
        let labels = [(FLEET, self.fleet.as_str()), (BALANCER, "")];
        api.list("configs", &labels).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, second: u32) -> Value {
        json!({
            "Spec": {"Name": name},
            "UpdatedAt": format!("2026-11-29T10:00:{second:02}.123456789Z"),
        })
    }

    #[test]
    fn a_balancer_that_renews_its_object_is_there() {
        let seen = |objects: &[Value]| {
            let mut names: Vec<_> = others(objects, "own").into_keys().collect();
            names.sort();
            names.join(" ")
        };
        for (objects, expected) in [
            (vec![object("own", 40)], ""),
            (vec![object("own", 40), object("other", 39)], "other"),
            (vec![object("own", 40), object("other", 41)], "other"),
            (vec![object("own", 40), object("dead", 29)], ""),
            (vec![object("other", 40)], ""),
            (vec![object("own", 40), json!({})], ""),
        ] {
            assert_eq!(seen(&objects), expected, "{objects:?}");
        }
        let before = others(&[object("own", 40), object("other", 39)], "own");
        assert!(!is_renewed(
            &before,
            &[object("own", 42), object("other", 39)]
        ));
        assert!(!is_renewed(&before, &[object("own", 42)]));
        assert!(is_renewed(&before, &[object("other", 41)]));
    }

    #[test]
    fn one_of_several_balancers_comes_first() {
        for (objects, expected) in [
            (vec![object("m", 40)], true),
            (vec![object("m", 40), object("z", 40)], true),
            (vec![object("m", 40), object("a", 39)], false),
            (vec![object("m", 40), object("a", 20)], true),
        ] {
            assert_eq!(is_first(&objects, "m"), expected, "{objects:?}");
        }
    }

    #[test]
    fn each_balancer_says_its_load_in_its_object() {
        let said = |name: &str, second, load: &str, idle: &str| {
            let mut object = object(name, second);
            object["Spec"]["Labels"] = json!({LOAD: load, IDLE: idle});
            object
        };
        let objects = [
            said("a", 40, "2.5", "7"),
            said("b", 38, "-1", "0"),
            said("c", 38, "1", ""),
            object("d", 31),
            json!({}),
        ];
        let idle_for = Duration::from_secs(7);
        let report = |name, age, load| BalancerReport {
            name,
            age: Duration::from_secs(age),
            load,
        };
        assert_eq!(
            reports(&objects),
            [
                report(
                    "a",
                    0,
                    Some(BalancerLoad {
                        load: 2.5,
                        idle_for
                    })
                ),
                report("b", 2, None),
                report("c", 2, None),
                report("d", 9, None),
            ]
        );
    }

    #[test]
    fn what_a_dead_balancer_left_is_found() {
        let objects = [object("own", 59), object("dead", 1), object("other", 58)];
        assert_eq!(stale(&objects, "own"), ["dead"]);
    }
}
