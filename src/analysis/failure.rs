//! every replica is killed once, in turn, under load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::results::{FailureRun, Kill, Timeline};
use super::stats::milliseconds;
use super::tested_balancer::TestedBalancer;
use super::{ANSWER_TIMEOUT, Options};
use crate::experiments::ExperimentError;
use crate::experiments::load::{self, Completion, LoadGenerator, LoadRequest, Names};
use crate::experiments::progress::Progress;
use crate::experiments::recovery::{Recovery, RecoveryWatch, silence};
use fastrand::Rng;
use std::cell::RefCell;

/// Requests per second: enough for a fine timeline, little enough that neither client nor
/// balancer is at its limit, which would measure the machine.
const RATE: u32 = 2_000;
/// N.
const REPLICAS: usize = 3;
/// How long the load runs before a kill and after the recovery.
const QUIET: Duration = Duration::from_millis(800);
/// How much of the time before the kill the timeline shows.
const BEFORE_MS: i64 = 300;
/// How much of the time after the kill it shows at least; more, if a recovery takes longer.
const MIN_AFTER_MS: i64 = 700;
/// The length of its bins.
const BIN_MS: i64 = 25;

/// A kill whose answers are not counted yet, and how it was done.
type Killed = (Recovery, String);

/// Kills each replica under load.
pub async fn run(
    target: &TestedBalancer,
    options: &Options,
) -> Result<FailureRun, ExperimentError> {
    let names = target.resize(REPLICAS).await?;
    let title = format!("A-3: each of {REPLICAS} replicas killed under load");
    let progress = Progress::begin(title, names.len());
    let url = target.api.url(&options.path);
    let clients = options.concurrency;
    let begun = Instant::now();
    let rng = RefCell::new(Rng::with_seed(options.seed));
    let load = LoadGenerator::start(clients, Some(RATE), ANSWER_TIMEOUT, move |_, _| {
        LoadRequest::get(&url, load::random_id(&mut rng.borrow_mut()))
    });
    let before = retried(target).await?;

    let mut recoveries = Vec::new();
    for name in &names {
        progress.say(name);
        tokio::time::sleep(QUIET).await;
        recoveries.push(kill(target, &load, name).await?);
        progress.step();
    }
    tokio::time::sleep(QUIET).await;
    let after = retried(target).await?;
    let answers = load.stop().await;
    let seconds = begun.elapsed().as_secs_f64();

    let known = Names::new(&names);
    // The same for all, so that they can be compared.
    let last = recoveries.iter().filter_map(|(kill, _)| kill.ready_ms);
    let after_ms = last.fold(0.0, f64::max) as i64 + BEFORE_MS;
    let after_ms = MIN_AFTER_MS.max(after_ms);
    let (failed, failures) = load::failures(&answers);
    let run = FailureRun {
        offered_per_second: RATE,
        answered_per_second: (answers.len() as f64 / seconds).round(),
        kills: recoveries
            .into_iter()
            .map(|kill| describe(kill, &answers, &known, after_ms))
            .collect(),
        requests: answers.len() as u64,
        failed,
        failures,
        retried: before.zip(after).map(|(before, after)| after - before),
    };
    progress.done(&format!(
        "{} requests, {} failed; {}",
        run.requests,
        run.failed,
        longest(&run)
    ));
    Ok(run)
}

/// Kills one replica and waits until it is back.
async fn kill(
    target: &TestedBalancer,
    load: &LoadGenerator,
    name: &str,
) -> Result<Killed, ExperimentError> {
    let watch = RecoveryWatch::begin(target.admin.as_ref(), load).await?;
    let mut recovery = Recovery::begin(name);
    let killed = target.kill(name).await?;
    recovery.injected = killed.at;
    recovery.effective = Instant::now();
    watch.until_back(&mut recovery, None).await?;
    Ok((recovery, killed.method))
}

async fn retried(target: &TestedBalancer) -> Result<Option<u64>, ExperimentError> {
    let status = target.status().await?;
    Ok(status.map(|status| status.counters.retried))
}

/// What clients saw of a kill.
fn describe(
    (recovery, method): Killed,
    answers: &[Completion],
    known: &Names,
    after_ms: i64,
) -> Kill {
    let at = recovery.injected;
    let silent = milliseconds(silence(answers, known, &recovery));
    let timeline = timeline(answers, known, at, after_ms);
    let answered = timeline.answers.values().flatten();
    let failed: u64 = timeline.failed.iter().map(|&n| u64::from(n)).sum();
    Kill {
        requests: answered.map(|&n| u64::from(n)).sum::<u64>() + failed,
        failed,
        replica: recovery.replica,
        method,
        evicted_ms: recovery.evicted_ms,
        ready_ms: recovery.ready_ms,
        silent_ms: silent,
        reason: recovery.reason,
        retried: recovery.retried,
        timeline,
    }
}

/// Counts answers in bins around a kill.
fn timeline(answers: &[Completion], known: &Names, at: Instant, after_ms: i64) -> Timeline {
    let bins = ((BEFORE_MS + after_ms) / BIN_MS) as usize;
    let bin_of = |answer: &Completion| {
        let ms = match answer.ended.checked_duration_since(at) {
            Some(after) => after.as_millis() as i64,
            // One that ended a little before 0 is not in the bin that begins with it.
            None => -((at - answer.ended).as_micros() as i64 + 999) / 1_000,
        };
        let bin = (ms + BEFORE_MS).div_euclid(BIN_MS);
        usize::try_from(bin).ok().filter(|&bin| bin < bins)
    };
    let mut timeline = Timeline {
        from_ms: -BEFORE_MS,
        bin_ms: BIN_MS,
        answers: BTreeMap::new(),
        failed: vec![0; bins],
    };
    for answer in answers {
        let Some(bin) = bin_of(answer) else { continue };
        match &answer.from {
            Ok(called) => {
                let name = known.name(called).to_owned();
                let line = timeline
                    .answers
                    .entry(name)
                    .or_insert_with(|| vec![0; bins]);
                line[bin] += 1;
            }
            Err(_) => timeline.failed[bin] += 1,
        }
    }
    timeline
}

/// The longest of the times, for the line that says that it is done.
fn longest(run: &FailureRun) -> String {
    let most = |times: Vec<Option<f64>>| {
        let times: Option<Vec<f64>> = times.into_iter().collect();
        times.map(|times| times.into_iter().fold(0.0, f64::max))
    };
    let evicted = most(run.kills.iter().map(|kill| kill.evicted_ms).collect());
    let ready = most(run.kills.iter().map(|kill| kill.ready_ms).collect());
    match (evicted, ready) {
        (Some(evicted), Some(ready)) => {
            format!("evicted within {evicted:.1} ms, ready within {ready:.0} ms")
        }
        _ => "when exactly, only an admin listener could tell".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(begun: Instant, ms: u64, from: Result<&str, &str>) -> Completion {
        Completion::test(begun, begun + Duration::from_millis(ms), from)
    }

    #[test]
    fn a_timeline_counts_by_replica_and_a_silence_is_between_two_answers() {
        let start = Instant::now();
        let at = start + Duration::from_secs(1);
        let known = Names::new(&["Server1".to_owned(), "Server2".to_owned()]);
        let ms = Duration::from_millis;
        let answers = [
            // Before the timeline.
            answer(start, 1, Ok("1")),
            // The last bin before the kill; a request that was under way at the kill.
            answer(at - ms(10), 9, Ok("1")),
            answer(at - ms(1), 2, Ok("1")),
            answer(at + ms(1), 1, Ok("2")),
            answer(at + ms(30), 1, Err("no")),
            answer(at + ms(80), 2, Ok("1")),
            // After the timeline.
            answer(at + ms(100), 1, Ok("2")),
        ];
        let timeline = timeline(&answers, &known, at, 100);
        assert_eq!(timeline.from_ms, -300);
        assert_eq!(timeline.answers["Server1"][11..], [1, 1, 0, 0, 1]);
        assert_eq!(timeline.answers["Server2"][11..], [0, 1, 0, 0, 0]);
        assert_eq!(timeline.failed[11..], [0, 0, 1, 0, 0]);
        let mut recovery = Recovery::begin("Server1");
        (recovery.injected, recovery.effective) = (at, at);
        assert_eq!(silence(&answers, &known, &recovery), ms(81));
    }
}
