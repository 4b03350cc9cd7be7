//! Scale: as many requests as possible, open at once, none lost.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Options;
use super::machine::resident_kib;
use super::results::{Memory, ScaleRun};
use super::tested_balancer::TestedBalancer;
use crate::experiments::ExperimentError;
use crate::experiments::client;
use crate::experiments::load::{self, Completion, LoadRequest};
use crate::experiments::progress::Progress;
use crate::sys::open_files;

/// N.
const REPLICAS: usize = 3;
/// Requests begun in each second: a thousand SYNs at the same moment would test the
/// kernel's accept queue.
const PER_SECOND: usize = 2_000;
/// Between two looks at the balancer's status.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Open files that a process needs beside those of its requests.
const RESERVED_FILES: u64 = 128;

/// Holds requests open, all at once.
pub async fn run(target: &TestedBalancer, options: &Options) -> Result<ScaleRun, ExperimentError> {
    target.resize(REPLICAS).await?;
    let wanted = options.scale;
    let status = match &target.admin {
        Some(admin) => Some(admin.status().await?),
        None => None,
    };
    let most_at_once = status.as_ref().map(|status| status.max_connections);
    let most_in_flight = target.status().await?.and_then(|fleet| fleet.max_in_flight);
    let most_in_flight = most_in_flight.map(|most| most as usize * REPLICAS);
    let (tried, limited_by) = limit(wanted, open_files::raise(), most_at_once, most_in_flight);
    // All have to be open before the first is answered, on a slow machine too.
    let held = Duration::from_secs(2) + Duration::from_secs(2) * tried as u32 / PER_SECOND as u32;
    // Those that the balancer lets wait are held after the others.
    let http_client = client::http_client(held * 2 + Duration::from_secs(60));
    let url = target.api.url(&format!("/slow?ms={}", held.as_millis()));
    let progress = Progress::begin(format!("Scale: {tried} requests open at once"), tried);
    let before_kib = memory(target).map(|(now, _)| now);

    let begun = Instant::now();
    let mut sampler = BalancerSampler::default();
    let requests = load::ids(options.seed, tried).into_iter().enumerate();
    let requests: FuturesUnordered<_> = requests
        .map(|(place, id)| {
            let (client, url) = (&http_client, &url);
            let wait = Duration::from_secs(1) * place as u32 / PER_SECOND as u32;
            async move {
                tokio::time::sleep(wait).await;
                LoadRequest::get(url, id).send(client).await
            }
        })
        .collect();
    let all = requests
        .inspect(|_| progress.step())
        .collect::<Vec<Completion>>();
    let answers = tokio::select! {
        answers = all => answers,
        error = sampler.sample(target) => return Err(error),
    };

    let (failed, failures) = load::failures(&answers);
    let (open_at_once, all_open) = overlap(&answers, held);
    let run = ScaleRun {
        wanted,
        tried,
        limited_by,
        open_at_once,
        in_flight_at_once: sampler.in_flight,
        answered: answers.len() as u64 - failed,
        failed,
        failures,
        held_ms: held.as_millis() as u64,
        opening_seconds: all_open.map_or(0.0, |at| (at - begun).as_secs_f64()),
        memory: sampler.memory_since(target, before_kib),
    };
    let memory = run.memory.map_or_else(String::new, |memory| {
        format!(", balancer at {} MiB", memory.peak_kib / 1024)
    });
    progress.done(&format!(
        "{} open at once, {} failed{memory}",
        run.open_at_once, run.failed
    ));
    Ok(run)
}

/// How many requests are to be tried, and what keeps them from being open all at once: the
/// limit on our own open files, or what the balancer takes at once.
fn limit(
    wanted: usize,
    files: Option<u64>,
    most_at_once: Option<usize>,
    most_in_flight: Option<usize>,
) -> (usize, Option<String>) {
    let own = files.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX)
    });
    let most_at_once = most_at_once.unwrap_or(usize::MAX);
    // Those beyond wait for their turn, and one more turn is bearable.
    let tried = wanted.min(own).min(most_at_once.saturating_mul(2));
    if let Some(most) = most_in_flight.filter(|most| *most < tried) {
        let reason = format!("{REPLICAS} replicas may have {most} in flight (--max-in-flight)");
        return (most, Some(reason));
    }
    let reason = if tried > most_at_once {
        format!(
            "the balancer has at most {most_at_once} connections open at once \
             (--max-connections; by default what the limit on open files allows, at two for \
             each request), so that the others of the {tried} requests waited to be accepted"
        )
    } else if tried < wanted {
        format!("the client may have no more files open (ulimit -Hn: {files:?})")
    } else {
        return (tried, None);
    };
    (tried, Some(reason))
}

/// How many requests replicas held at the same moment, and when that was reached: each was
/// held for the last `held` of its time.
fn overlap(answers: &[Completion], held: Duration) -> (usize, Option<Instant>) {
    let mut changes = Vec::with_capacity(answers.len() * 2);
    for answer in answers.iter().filter(|answer| answer.from.is_ok()) {
        changes.push((answer.ended - held, 1));
        changes.push((answer.ended, -1));
    }
    changes.sort_unstable();
    let mut open = 0;
    let mut most = (0, None);
    for (at, change) in changes {
        open += change;
        if open > most.0 {
            most = (open, Some(at));
        }
    }
    (usize::try_from(most.0).unwrap_or_default(), most.1)
}

fn memory(target: &TestedBalancer) -> Option<(u64, u64)> {
    resident_kib(target.pid()?)
}

/// What was seen of the balancer meanwhile.
#[derive(Default)]
struct BalancerSampler {
    in_flight: Option<u64>,
    resident_kib: u64,
}

impl BalancerSampler {
    /// Looks again and again; ends only with an error.
    async fn sample(&mut self, target: &TestedBalancer) -> ExperimentError {
        loop {
            match target.status().await {
                Ok(Some(status)) => {
                    let sum = status
                        .replicas
                        .iter()
                        .map(|one| u64::from(one.in_flight))
                        .sum();
                    self.in_flight = self.in_flight.max(Some(sum));
                }
                Ok(None) => {}
                Err(error) => return error,
            }
            if let Some((now, _)) = memory(target) {
                self.resident_kib = self.resident_kib.max(now);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn memory_since(&self, target: &TestedBalancer, before_kib: Option<u64>) -> Option<Memory> {
        let (after_kib, peak_kib) = memory(target)?;
        Some(Memory {
            before_kib: before_kib?,
            open_kib: self.resident_kib,
            peak_kib,
            after_kib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_fits_the_client_s_files_and_two_turns_of_the_balancer() {
        for (files, most_at_once, most_in_flight, tried, limited) in [
            (None, None, None, 10_000, false),
            (Some(20_000), Some(10_000), None, 10_000, false),
            (Some(20_000), Some(9_924), None, 10_000, true),
            (Some(20_000), Some(400), None, 800, true),
            (Some(1_128), Some(9_924), None, 1_000, true),
            (Some(20_000), Some(9_924), Some(768), 768, true),
        ] {
            let (number, reason) = limit(10_000, files, most_at_once, most_in_flight);
            let story = format!("{files:?} files, {most_at_once:?} connections: {reason:?}");
            assert_eq!((number, reason.is_some()), (tried, limited), "{story}");
        }
    }

    #[test]
    fn only_requests_that_were_held_at_the_same_time_count_as_open_at_once() {
        let start = Instant::now();
        let held = Duration::from_millis(100);
        let answer =
            |ended, from| Completion::test(start, start + Duration::from_millis(ended), from);
        let answers = [
            answer(100, Ok("1")),
            answer(150, Ok("2")),
            answer(200, Ok("3")),
            answer(180, Err("lost")),
        ];
        let at = start + Duration::from_millis(50);
        assert_eq!(overlap(&answers, held), (2, Some(at)));
        assert_eq!(overlap(&[], held), (0, None));
    }
}
