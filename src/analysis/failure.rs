//! every replica is killed once, in turn, under load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::AnalysisError;
use super::load::{self, Answer, Names, SteadyLoad};
use super::observed::{Harm, Observed, Watch, silence};
use super::progress::Progress;
use super::results::{FailureRun, Kill, Timeline};
use super::target::Target;
use super::{ANSWER_TIMEOUT, Options, api};

/// Requests per second: enough for a fine timeline, little enough that neither client nor
/// balancer is at its limit, which would measure the machine.
const RATE: u32 = 2_000;
/// N.
const REPLICAS: usize = 3;
/// The load runs so long before a kill and after its end.
const QUIET: Duration = Duration::from_millis(800);
/// The timeline begins so long before the kill.
const BEFORE_MS: i64 = 300;
/// It ends so long after the kill, or some time after the latest return if that takes longer.
const AFTER_MS: i64 = 700;
/// The length of its bins.
const BIN_MS: i64 = 25;

/// A kill whose answers are not counted yet, and how it was done.
type Killed = (Observed, String);

/// Kills each replica under load.
pub async fn run(target: &Target, options: &Options) -> Result<FailureRun, AnalysisError> {
    let names = target.resize(REPLICAS).await?;
    let title = format!("A-3: each of {REPLICAS} replicas killed under load");
    let progress = Progress::begin(title, names.len());
    let client = api::client(ANSWER_TIMEOUT);
    let url = target.api.url(&options.path);
    let clients = options.concurrency;
    let begun = Instant::now();
    let load = SteadyLoad::start(&client, &url, options.seed, clients, RATE);
    let before = retried(target).await?;

    let mut observed = Vec::new();
    for name in &names {
        progress.say(name);
        tokio::time::sleep(QUIET).await;
        observed.push(kill(target, &load, name).await?);
        progress.step();
    }
    tokio::time::sleep(QUIET).await;
    let after = retried(target).await?;
    let answers = load.stop().await;
    let seconds = begun.elapsed().as_secs_f64();

    let known = Names::new(&names);
    // The same for all, so that they can be compared.
    let last = observed.iter().filter_map(|(kill, _)| kill.back_ms);
    let after_ms = last.fold(0.0, f64::max) as i64 + BEFORE_MS;
    let after_ms = AFTER_MS.max(after_ms);
    let (failed, failures) = load::failures(&answers);
    let run = FailureRun {
        offered_per_second: RATE,
        answered_per_second: (answers.len() as f64 / seconds).round(),
        kills: observed
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
async fn kill(target: &Target, load: &SteadyLoad, name: &str) -> Result<Killed, AnalysisError> {
    let watch = Watch::begin(target.admin.as_ref(), load).await?;
    let mut observed = Observed::new(name);
    let killed = target.kill(name).await?;
    observed.at = killed.at;
    observed.landed = Instant::now();
    watch.until_back(&mut observed, Harm::Ends).await?;
    Ok((observed, killed.method))
}

async fn retried(target: &Target) -> Result<Option<u64>, AnalysisError> {
    let status = target.status().await?;
    Ok(status.map(|status| status.counters.retried))
}

/// What clients saw of a kill.
fn describe((observed, method): Killed, answers: &[Answer], known: &Names, after_ms: i64) -> Kill {
    let at = observed.at;
    let silent = silence(answers, known, &observed);
    let timeline = timeline(answers, known, at, after_ms);
    let answered = timeline.answers.values().flatten();
    let failed: u64 = timeline.failed.iter().map(|&n| u64::from(n)).sum();
    Kill {
        requests: answered.map(|&n| u64::from(n)).sum::<u64>() + failed,
        failed,
        replica: observed.replica,
        method,
        evicted_ms: observed.evicted_ms,
        back_ms: observed.back_ms,
        silent_ms: silent,
        reason: observed.reason,
        retried: observed.retried,
        timeline,
    }
}

/// Counts answers in bins around a kill.
fn timeline(answers: &[Answer], known: &Names, at: Instant, after_ms: i64) -> Timeline {
    let bins = ((BEFORE_MS + after_ms) / BIN_MS) as usize;
    let bin_of = |answer: &Answer| {
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
    let back = most(run.kills.iter().map(|kill| kill.back_ms).collect());
    match (evicted, back) {
        (Some(evicted), Some(back)) => {
            format!("evicted within {evicted:.1} ms, back within {back:.0} ms")
        }
        _ => "when exactly, only an admin address could tell".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(begun: Instant, ms: u64, from: Result<&str, &str>) -> Answer {
        Answer {
            id: 123_456,
            begun,
            ended: begun + Duration::from_millis(ms),
            lost: from.is_err(),
            from: from.map(str::to_owned).map_err(str::to_owned),
        }
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
        let mut observed = Observed::new("Server1");
        (observed.at, observed.landed) = (at, at);
        assert_eq!(silence(&answers, &known, &observed), 81.0);
    }
}
