//! `--node`: a node of a Swarm is drained under load, by the balancer, which has it take tasks again.

use serde_json::json;

use super::report::{Outcome, time};
use super::{ANSWER_TIMEOUT, DrillError, Options, QUIET, begin_load};
use crate::api::{Drill, DrillFault, DrillState, NewDrill};
use crate::experiments::client::{self, AdminApi};
use crate::experiments::load::{self, Completion};
use crate::experiments::progress::Progress;
use crate::ring_cli::text::Grid;

/// Has the balancer drain the node. It goes on to the end also without this.
pub(super) async fn drill(options: &Options, node: &str) -> Result<Outcome, DrillError> {
    let admin = AdminApi::new(client::http_client(ANSWER_TIMEOUT), options.admin.clone());
    let url = format!("{}{}", options.url, options.path);
    let progress = Progress::begin(format!("Drill: drain of {node} under load"), 1);
    let load = begin_load(options, &url).await;
    let drain = NewDrill {
        replica: None,
        node: Some(node.to_owned()),
        fault: DrillFault::Drain,
        lasts: None,
    };
    let drilled = admin.drill(&drain).await?;
    tokio::time::sleep(QUIET).await;
    let answers = load.stop().await;
    progress.step();
    progress.done("done");
    Ok(outcome(options, &drilled, &answers))
}

fn outcome(options: &Options, drill: &Drill, answers: &[Completion]) -> Outcome {
    let (failed, failures) = load::failures(answers.iter().filter(|answer| answer.failed));
    let advice = load::advice(&options.path, &failures);
    let slowest = answers.iter().map(Completion::took).max();
    let slowest_ms = slowest.map(|took| took.as_secs_f64() * 1e3);
    let text = match options.json {
        true => {
            let json = json!({
                "drill": drill,
                "requests": answers.len(),
                "failed": failed,
                "slowest_ms": slowest_ms,
                "failures": failures,
                "advice": advice,
            });
            format!("{json:#}")
        }
        false => {
            let mut text = table(drill);
            let (count, slowest) = (answers.len(), time(slowest_ms));
            text.push_str(&format!(
                "{count} requests, {failed} failed, slowest {slowest}\n"
            ));
            for failure in failures.into_iter().chain(advice) {
                text.push_str(&format!("  {failure}\n"));
            }
            text
        }
    };
    Outcome {
        good: failed == 0 && drill.state == DrillState::Recovered,
        text,
    }
}

/// One line a replica, and what has become of the node.
fn table(drill: &Drill) -> String {
    let mut grid = Grid::new(&["replica", "left after", "ready after", "away"]);
    for one in &drill.moved {
        let left = one.left_after_ms;
        let away = left.and_then(|left| Some(one.ready_after_ms? - left));
        grid.row([
            one.replica.clone(),
            time(left),
            time(one.ready_after_ms),
            time(away),
        ]);
    }
    let node = drill.node.as_deref().unwrap_or_default();
    let end = match (drill.state, &drill.error) {
        (_, Some(error)) => error.clone(),
        (DrillState::Recovered, None) => format!("node {node} takes tasks again"),
        (_, None) => {
            format!("not all are ready elsewhere within a minute; node {node} takes tasks again")
        }
    };
    format!("{}\n{end}\n", grid.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MovedReplica, Timestamp};

    #[test]
    fn replicas_of_the_node_have_a_line_each() {
        let moved = |replica: &str, ready_after_ms| MovedReplica {
            replica: replica.to_owned(),
            left_after_ms: Some(250.0),
            ready_after_ms,
            generation_after: None,
        };
        let mut drill = Drill {
            id: 1,
            replica: None,
            node: Some("node3".to_owned()),
            fault: DrillFault::Drain,
            lasts_ms: None,
            state: DrillState::Recovered,
            started_at: Timestamp::EPOCH,
            evicted_after_ms: None,
            reason: None,
            ready_after_ms: Some(2_400.0),
            generation_before: None,
            generation_after: None,
            moved: vec![moved("Server3", Some(2_400.0)), moved("Server6", None)],
            error: None,
        };
        let text = table(&drill);
        let lines = text
            .lines()
            .filter(|line| line.contains(char::is_alphabetic));
        let words: Vec<_> = lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            words,
            [
                "replica left after ready after away",
                "Server3 250.0 ms 2.40 s 2.15 s",
                "Server6 250.0 ms - -",
                "node node3 takes tasks again"
            ]
        );
        drill.state = DrillState::NotRecovered;
        assert!(table(&drill).contains("not all are ready elsewhere"));
    }
}
