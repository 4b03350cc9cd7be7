//! Services of a fleet as a manager lists them. Pure.

use serde_json::Value;

use super::labels::{DEFINITION, GENERATION, ORDINAL, REPLICA, ROLE, WEIGHT};
use crate::ring::Weight;
use crate::runtime::{InstanceId, LaunchOrder};

/// What a service is to the replica that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceRole {
    /// It plays it, or did until it died.
    Current,
    /// It starts beside the one that plays it.
    Next,
    /// Another one has taken its place; that is no removal.
    Retired,
    /// Its replica has been removed.
    Leaving,
    /// It plays none: it is one of a rollout's canary.
    Extra,
}

impl ServiceRole {
    const ALL: [Self; 5] = [
        Self::Current,
        Self::Next,
        Self::Retired,
        Self::Leaving,
        Self::Extra,
    ];

    /// The value of its label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
            Self::Retired => "retired",
            Self::Leaving => "leaving",
            Self::Extra => "extra",
        }
    }
}

/// One instance's service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceInfo {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: ServiceRole,
    pub(super) order: LaunchOrder,
    /// The hash of the definition that it was started by.
    pub(super) definition: Option<String>,
    /// It has been scaled to nothing: it hung, and is kept for its log.
    pub(super) is_ended: bool,
}

/// Reads a service; none if it is not an instance's.
pub(super) fn read(service: &Value) -> Option<ServiceInfo> {
    let spec = &service["Spec"];
    let label = |key: &str| spec["Labels"][key].as_str();
    let role = label(ROLE)?;
    Some(ServiceInfo {
        id: service["ID"].as_str()?.to_owned(),
        name: spec["Name"].as_str()?.to_owned(),
        role: ServiceRole::ALL
            .into_iter()
            .find(|known| known.name() == role)?,
        order: read_order(&spec["Labels"])?,
        definition: label(DEFINITION).map(str::to_owned),
        is_ended: spec["Mode"]["Replicated"]["Replicas"].as_u64() == Some(0),
    })
}

/// What the labels of a service or of its container say of the instance.
pub(super) fn read_order(labels: &Value) -> Option<LaunchOrder> {
    let label = |key: &str| labels[key].as_str();
    let number = |key| label(key)?.parse::<u64>().ok();
    let weight = number(WEIGHT).and_then(|weight| Weight::new(u32::try_from(weight).ok()?));
    Some(LaunchOrder {
        id: InstanceId::new(label(REPLICA)?.parse().ok()?, number(GENERATION)?),
        weight: weight.unwrap_or_default(),
        ordinal: number(ORDINAL).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(labels: Value) -> Value {
        json!({"ID": "s1", "Version": {"Index": 9}, "Spec": {
            "Name": "zoo-S1-3", "Labels": labels, "Mode": {"Replicated": {"Replicas": 1}},
        }})
    }

    #[test]
    fn services_of_instances_are_read_and_others_passed_over() {
        let labels = json!({
            "io.ringmaster.fleet": "zoo", "io.ringmaster.replica": "S1",
            "io.ringmaster.generation": "3", "io.ringmaster.weight": "2",
            "io.ringmaster.ordinal": "5", "io.ringmaster.role": "next",
            "io.ringmaster.definition": "abc",
        });
        let info = read(&service(labels.clone())).unwrap();
        assert_eq!(info.role, ServiceRole::Next);
        assert_eq!(info.order.id, InstanceId::new("S1".parse().unwrap(), 3));
        assert_eq!((info.order.weight.get(), info.order.ordinal), (2, 5));
        assert_eq!(
            (info.definition.as_deref(), info.is_ended),
            (Some("abc"), false)
        );
        for (key, value) in [
            ("io.ringmaster.role", "else"),
            ("io.ringmaster.generation", "-1"),
            ("io.ringmaster.replica", "a b"),
        ] {
            let mut other = labels.clone();
            other[key] = value.into();
            assert_eq!(read(&service(other)), None, "{key}");
        }
        assert_eq!(read(&service(Value::Null)), None);
        assert_eq!(read(&Value::Null), None);
    }
}
