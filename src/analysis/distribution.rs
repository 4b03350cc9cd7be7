//! who gets how many of many requests.

use std::collections::BTreeMap;
use std::time::Instant;

use super::results::{Distribution, StrategyRun};
use super::stats::{Latency, Spread};
use super::tested_balancer::TestedBalancer;
use super::{ANSWER_TIMEOUT, Options};
use crate::api::RingStatus;
use crate::experiments::ExperimentError;
use crate::experiments::client;
use crate::experiments::load::{self, Names};
use crate::experiments::progress::Progress;
use crate::ring::{Key, Member, RingSpec, SlotTable, Strategy, Weight};

/// The N of A-1.
pub const FEW: usize = 3;
/// Every N of A-2.
pub const RANGE: std::ops::RangeInclusive<usize> = 2..=6;

///
pub async fn shares(
    target: &TestedBalancer,
    options: &Options,
) -> Result<Distribution, ExperimentError> {
    measure(target, options, FEW, "A-1").await
}

///
pub async fn means(
    target: &TestedBalancer,
    options: &Options,
) -> Result<Vec<Distribution>, ExperimentError> {
    let mut measured = Vec::new();
    for n in RANGE {
        measured.push(measure(target, options, n, "A-2").await?);
    }
    Ok(measured)
}

/// Without an admin address nothing is measured, only computed.
pub async fn strategies(
    target: &TestedBalancer,
    options: &Options,
) -> Result<Vec<StrategyRun>, ExperimentError> {
    let mut runs = Vec::new();
    for strategy in Strategy::ALL {
        let mut by_replicas = Vec::new();
        let ring = if target.admin.is_some() {
            // Small first: a table for few replicas is rebuilt in no time.
            target.resize(*RANGE.start()).await?;
            let ring = target.rebuild(strategy.name()).await?;
            for n in RANGE {
                let title = format!("A-4, {strategy}");
                by_replicas.push(measure(target, options, n, &title).await?);
            }
            ring
        } else {
            let ring = defaults(strategy);
            for n in RANGE {
                by_replicas.extend(computed(&ring, n, options));
            }
            ring
        };
        runs.push(StrategyRun {
            strategy: ring.strategy,
            slots: ring.slots,
            virtual_servers: ring.virtual_servers,
            by_replicas,
        });
    }
    target.restore_ring().await?;
    Ok(runs)
}

/// Sends the requests at one N. Each N has ids of its own, the same for every strategy.
async fn measure(
    target: &TestedBalancer,
    options: &Options,
    n: usize,
    title: &str,
) -> Result<Distribution, ExperimentError> {
    let names = target.resize(n).await?;
    let status = target.status().await?;
    let weights = target.weights().await?;
    let ids = ids(options, n);
    let title = format!("{title}: {} requests at N = {n}", ids.len());
    let progress = Progress::begin(title, ids.len());
    let client = client::http_client(ANSWER_TIMEOUT);
    let url = target.api.url(&options.path);
    let begun = Instant::now();
    let answers = load::burst(&client, &url, &ids, options.concurrency, || progress.step()).await;
    let seconds = begun.elapsed().as_secs_f64();

    let known = Names::new(&names);
    let ring = status.map(|status| status.ring);
    let owners = ring
        .as_ref()
        .and_then(|ring| Owners::of(ring, &names, &weights));
    let mut counts: BTreeMap<String, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let mut as_computed = 0;
    for answer in &answers {
        let Ok(called) = &answer.from else { continue };
        let name = known.name(called);
        *counts.entry(name.to_owned()).or_default() += 1;
        if owners.as_ref().and_then(|owners| owners.name(answer.id)) == Some(name) {
            as_computed += 1;
        }
    }
    let (failed, failures) = load::failures(&answers);
    let distribution = Distribution {
        replicas: n,
        strategy: ring.map(|ring| ring.strategy),
        measured: true,
        requests: answers.len() as u64,
        failed,
        failures,
        spread: Spread::of(counts.values().copied()),
        counts,
        as_computed: owners.map(|_| as_computed),
        seconds,
        latency: Latency::of(answers.iter().map(load::Completion::took).collect()),
    };
    progress.done(&format!(
        "{}, {} failed, peak/mean {:.3}",
        list(&distribution.counts),
        distribution.failed,
        distribution.spread.peak_to_mean
    ));
    Ok(distribution)
}

/// What a strategy makes of the same ids, without a balancer.
fn computed(ring: &RingStatus, n: usize, options: &Options) -> Option<Distribution> {
    let names: Vec<String> = (1..=n).map(|number| format!("Server{number}")).collect();
    let owners = Owners::of(ring, &names, &BTreeMap::new())?;
    let mut counts: BTreeMap<String, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let ids = ids(options, n);
    for &id in &ids {
        *counts.entry(owners.name(id)?.to_owned()).or_default() += 1;
    }
    Some(Distribution {
        replicas: n,
        strategy: Some(ring.strategy.clone()),
        measured: false,
        requests: ids.len() as u64,
        failed: 0,
        failures: Vec::new(),
        spread: Spread::of(counts.values().copied()),
        counts,
        as_computed: None,
        seconds: 0.0,
        latency: None,
    })
}

fn ids(options: &Options, n: usize) -> Vec<u32> {
    load::ids(options.seed.wrapping_add(n as u64), options.requests)
}

fn defaults(strategy: Strategy) -> RingStatus {
    let spec = RingSpec::new(strategy, None, None).unwrap_or_default();
    RingStatus {
        strategy: strategy.name().to_owned(),
        slots: spec.slots(),
        virtual_servers: spec.virtual_servers(),
        balance_factor: None,
    }
}

/// The slot table that the balancer should have.
struct Owners(SlotTable);

impl Owners {
    /// None if the balancer's ring is of a kind that we do not know.
    fn of(ring: &RingStatus, names: &[String], weights: &BTreeMap<String, u32>) -> Option<Self> {
        let strategy = ring.strategy.parse().ok()?;
        let spec = RingSpec::new(strategy, Some(ring.slots), ring.virtual_servers).ok()?;
        let members = names.iter().map(|name| {
            let mut member = Member::new(name.parse().ok()?);
            if let Some(&weight) = weights.get(name) {
                member.weight = Weight::new(weight)?;
            }
            Some(member)
        });
        let members: Option<Vec<Member>> = members.collect();
        SlotTable::build(&spec, &members?).ok().map(Self)
    }

    /// Whom a request's id belongs to.
    fn name(&self, id: u32) -> Option<&str> {
        let key = Key::from_bytes(id.to_string().as_bytes());
        let owner = self.0.owner(self.0.slot_of(key))?;
        Some(self.0.member(owner).name.as_str())
    }
}

/// `3301 / 3380 / 3319`
pub fn list(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.values().map(u64::to_string).collect();
    counts.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::options::{BalancerOptions, Experiment};

    #[test]
    fn the_originals_formulas_send_nearly_everything_to_one_replica() {
        let options = Options {
            target: BalancerOptions::Child,
            requests: 10_000,
            concurrency: 1,
            path: "/home".to_owned(),
            scale: 1,
            experiments: Experiment::ALL.into(),
            seed: 1,
            out: "nowhere".into(),
        };
        let peak = |strategy| {
            let distribution = computed(&defaults(strategy), FEW, &options).unwrap();
            assert_eq!(distribution.counts.values().sum::<u64>(), 10_000);
            distribution.spread.peak_to_mean
        };
        assert!(peak(Strategy::Classic) > 2.5);
        assert!(peak(Strategy::Rendezvous) < 1.05);
    }
}
