//! `rebalance`: replicas move from nodes of a Swarm that have more than their share.

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::Output;
use crate::api::Rebalance;
use crate::ring_cli::text::Grid;

/// Moves them, or says which would be.
pub async fn rebalance(client: &CtlClient, output: &Output, dry_run: bool) -> Result<(), CtlError> {
    let path = client.fleet_path(match dry_run {
        true => "/rebalance?dry_run=true",
        false => "/rebalance",
    });
    let none = CallCondition::None;
    let reply: ApiReply<Rebalance> = client.change(Method::POST, &path, none, &json!({})).await?;
    output.reply(&reply, text);
    Ok(())
}

fn text(rebalance: &Rebalance) -> String {
    let has_zones = rebalance.nodes.iter().any(|node| node.zone.is_some());
    let mut grid = match has_zones {
        true => Grid::with_texts(&["node", "zone", "replicas", "share"], 1..2),
        false => Grid::new(&["node", "replicas", "share"]),
    };
    for node in &rebalance.nodes {
        let mut row = vec![node.node.clone()];
        if has_zones {
            row.push(node.zone.clone().unwrap_or_default());
        }
        row.extend([node.replicas.to_string(), node.share.to_string()]);
        grid.row(row);
    }
    let mut text = grid.text();
    for one in &rebalance.moves {
        let (replica, from) = (&one.replica, &one.from);
        text.push_str(&match &one.to {
            Some(to) => format!("\n{replica} is on {to} now, not on {from}"),
            None if rebalance.dry_run => format!("\n{replica} would be moved off {from}"),
            None => format!("\n{replica} has been moved off {from}"),
        });
    }
    if rebalance.moves.is_empty() {
        text.push_str("\nno node has more than its share: there is nothing to move");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NodeShare, ReplicaMove};

    /// The lines with words in them.
    fn words(rebalance: &Rebalance) -> Vec<String> {
        let text = text(rebalance);
        let lines = text
            .lines()
            .filter(|line| line.contains(char::is_alphabetic));
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn nodes_and_moves_are_shown() {
        let node = |node: &str, zone: Option<&str>, replicas| NodeShare {
            node: node.to_owned(),
            zone: zone.map(str::to_owned),
            replicas,
            share: 2,
        };
        let one = ReplicaMove {
            replica: "Server6".to_owned(),
            from: "node1".to_owned(),
            to: None,
        };
        let plan = Rebalance {
            dry_run: true,
            nodes: vec![node("node1", Some("a"), 3), node("node3", Some("b"), 1)],
            moves: vec![one.clone()],
        };
        assert_eq!(
            words(&plan),
            [
                "node zone replicas share",
                "node1 a 3 2",
                "node3 b 1 2",
                "Server6 would be moved off node1"
            ]
        );
        let to = Some("node3".to_owned());
        let done = Rebalance {
            dry_run: false,
            nodes: vec![node("node1", None, 2), node("node3", None, 2)],
            moves: vec![ReplicaMove { to, ..one }],
        };
        assert_eq!(
            words(&done),
            [
                "node replicas share",
                "node1 2 2",
                "node3 2 2",
                "Server6 is on node3 now, not on node1"
            ]
        );
    }
}
