//! Judges the options of scaling together.

use super::super::options::ScalingOptions;
use super::Mistakes;
use crate::fleet::ScalingPolicy;

/// What scaling goes by, if the load is to decide; `replicas` are there to begin with.
pub(super) fn policy(
    options: ScalingOptions,
    replicas: u32,
    mistakes: &mut Mistakes<'_>,
) -> Option<ScalingPolicy> {
    let Some(target) = options.target_in_flight else {
        let others = [
            "max-replicas",
            "min-replicas",
            "scale-down-after",
            "idle-timeout-to-zero",
        ];
        for key in others {
            if mistakes.is_given(key) {
                mistakes.add(key, "needs --target-in-flight");
            }
        }
        return None;
    };
    let Some(max) = options.max_replicas else {
        mistakes.add("target-in-flight", "needs --max-replicas");
        return None;
    };
    if mistakes.is_given("service") {
        match options.min_replicas {
            None => {
                let wrong =
                    "needs --min-replicas beside --service: how many there are is compose's";
                mistakes.add("target-in-flight", wrong);
            }
            // Its containers are made from those that there are.
            Some(0) => mistakes.add("min-replicas", "at least 1 beside --service"),
            Some(_) => {}
        }
    }
    let min = options.min_replicas.unwrap_or(replicas);
    if min > max {
        let wrong = match options.min_replicas {
            Some(_) => format!("less than --min-replicas, {min}"),
            None => format!("less than --replicas, {min}; with fewer, say --min-replicas"),
        };
        mistakes.add("max-replicas", wrong);
    }
    if min > 0 && mistakes.is_given("idle-timeout-to-zero") {
        mistakes.add("idle-timeout-to-zero", "needs --min-replicas 0");
    }
    Some(ScalingPolicy {
        min: min as usize,
        max: max as usize,
        target_in_flight: target,
        down_after: options.scale_down_after,
        idle_to_zero: options.idle_timeout_to_zero,
    })
}
