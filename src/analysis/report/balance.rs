//! how even it is.

use std::fmt::{self, Write};

use super::{failures, image};
use crate::analysis::chart;
use crate::analysis::distribution::FEW;
use crate::analysis::format::{CLAIM, origin};
use crate::analysis::results::{Distribution, StrategyRun};
use crate::human::{milliseconds, thousands};

/// A strategy is even if its busiest replica is no further above the mean than so many of
/// the standard deviations that chance gives a perfectly fair one.
const EVEN: f64 = 3.5;
/// Up to so much more than that, by the mean, it is roughly even.
const ROUGHLY: f64 = 0.25;

pub(super) fn a1(text: &mut String, one: &Distribution) -> fmt::Result {
    writeln!(
        text,
        "## A-1: {} requests at N = {FEW}\n",
        thousands(one.requests)
    )?;
    image(text, "Requests per replica at N = 3", chart::SHARES)?;
    text.push_str("| replica | requests | share |\n| --- | ---: | ---: |\n");
    for (name, &count) in &one.counts {
        let share = 100.0 * count as f64 / one.requests.max(1) as f64;
        writeln!(text, "| {name} | {} | {share:.2} % |", thousands(count))?;
    }
    writeln!(text, "| failed | {} | |\n", one.failed)?;
    let spread = &one.spread;
    writeln!(
        text,
        "The busiest replica has {:.3} times the mean. The standard deviation is {:.1} \
             requests; random ids alone would give a perfectly fair balancer about {:.1}.",
        spread.peak_to_mean, spread.standard_deviation, spread.chance
    )?;
    as_computed(text, one.as_computed, one.requests - one.failed)?;
    let [a, b, c] = CLAIM.map(thousands);
    writeln!(
        text,
        "The original write-up reports {a} / {b} / {c}. Its printed formulas cannot give \
             that (see A-4).\n"
    )?;
    pace(text, one)?;
    failures(text, &one.failures)
}

/// What the offline computation says to it.
fn as_computed(text: &mut String, as_computed: Option<u64>, answered: u64) -> fmt::Result {
    let Some(same) = as_computed else {
        return Ok(());
    };
    writeln!(
        text,
        "{} of {} requests were answered by the very replica that the strategy, computed \
             offline, gives them to.",
        thousands(same),
        thousands(answered)
    )
}

fn pace(text: &mut String, one: &Distribution) -> fmt::Result {
    let Some(latency) = &one.latency else {
        return Ok(());
    };
    writeln!(
        text,
        "It took {:.1} s; half of the answers took less than {}, 99 % less than {}. Client, \
             balancer and replicas share the machine, so that this is no benchmark.\n",
        one.seconds,
        milliseconds(latency.p50_ms),
        milliseconds(latency.p99_ms)
    )
}

pub(super) fn a2(text: &mut String, all: &[Distribution]) -> fmt::Result {
    text.push_str("## A-2: the mean load at N = 2 to 6\n\n");
    image(text, "Mean load of a replica for N = 2 to 6", chart::MEANS)?;
    text.push_str(
        "| N | mean | min | max | standard deviation | by chance alone | peak/mean | failed |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for one in all {
        let spread = &one.spread;
        writeln!(
            text,
            "| {} | {:.1} | {} | {} | {:.1} | {:.1} | {:.3} | {} |",
            one.replicas,
            spread.mean,
            thousands(spread.min),
            thousands(spread.max),
            spread.standard_deviation,
            spread.chance,
            spread.peak_to_mean,
            one.failed
        )?;
    }
    text.push_str(
        "\nThe mean is the number of requests by N, whatever the balancer does; the spread around \
         it is its own. \"By chance alone\" is the standard deviation that a perfectly fair \
         balancer would have with random ids.\n\n",
    );
    let computed: Option<u64> = all.iter().map(|one| one.as_computed).sum();
    as_computed(
        text,
        computed,
        all.iter().map(|one| one.requests - one.failed).sum(),
    )?;
    text.push('\n');
    let examples: Vec<String> = all.iter().flat_map(|one| one.failures.clone()).collect();
    failures(text, &examples)
}

pub(super) fn a4(text: &mut String, runs: &[StrategyRun]) -> fmt::Result {
    text.push_str("## A-4: every strategy\n\n");
    image(text, "Shares and peak loads by strategy", chart::STRATEGIES)?;
    text.push_str("| strategy | what it is | shares at N = 3 |");
    let all = runs.first().map_or(&[][..], |run| &run.by_replicas);
    for one in all {
        write!(text, " peak/mean, N = {} |", one.replicas)?;
    }
    text.push_str(" verdict |\n| --- | --- | ---: |");
    text.push_str(&" ---: |".repeat(all.len()));
    text.push_str(" --- |\n");
    for run in runs {
        let few = run.by_replicas.iter().find(|one| one.replicas == FEW);
        let shares = few.map_or_else(String::new, |one| {
            let total = one.counts.values().sum::<u64>().max(1) as f64;
            let shares = one.counts.values().map(|&n| 100.0 * n as f64 / total);
            let shares: Vec<String> = shares.map(|share| format!("{share:.1}")).collect();
            format!("{} %", shares.join(" / "))
        });
        let points = run
            .virtual_servers
            .map_or_else(String::new, |k| format!(", K = {k}"));
        write!(
            text,
            "| {} | {}; M = {}{points} | {shares} |",
            run.strategy,
            origin(&run.strategy),
            thousands(run.slots.into()),
        )?;
        for one in &run.by_replicas {
            write!(text, " {:.3} |", one.spread.peak_to_mean)?;
        }
        let verdict = verdict(&run.by_replicas);
        writeln!(text, " {verdict} |")?;
    }
    let all = || runs.iter().flat_map(|run| &run.by_replicas);
    if all().all(|one| one.measured) {
        let failed: u64 = all().map(|one| one.failed).sum();
        let requests: u64 = all().map(|one| one.requests).sum();
        writeln!(
            text,
            "\nMeasured with {} requests in all, {failed} of which failed; the ring was \
                 changed from one strategy to the next while the balancer ran.",
            thousands(requests)
        )?;
        let computed: Option<u64> = all().map(|one| one.as_computed).sum();
        as_computed(text, computed, requests - failed)?;
    } else {
        text.push_str(
            "\nComputed offline, from the same request ids, not measured: without the balancer's \
             admin address its strategy cannot be changed.\n",
        );
    }
    writeln!(
        text,
        "\n`classic` and `modulo` are the original's formulas to the letter: all their virtual \
             servers (i + 3j + 25) stand within some 30 of the 512 slots, so that whoever has the \
             first of them owns the long way round to it, and no request hash can make up for \
             that. `quadratic`, which may have been meant, is hardly better.\n\n\
             Peak/mean includes what chance does to so many random ids. \"Even\" is a busiest \
             replica no more than {EVEN} standard deviations of chance above the mean, \"roughly \
             even\" one up to {ROUGHLY} of the mean above that.\n"
    )?;
    let examples: Vec<String> = all().flat_map(|one| one.failures.clone()).collect();
    failures(text, &examples)
}

/// Whether a strategy balances, in a word or two.
fn verdict(all: &[Distribution]) -> &'static str {
    let excess = all.iter().map(|one| {
        let spread = &one.spread;
        spread.peak_to_mean - 1.0 - EVEN * spread.chance / spread.mean.max(1.0)
    });
    match excess.fold(f64::MIN, f64::max) {
        excess if excess <= 0.0 => "even",
        excess if excess <= ROUGHLY => "roughly even",
        _ => "does not balance",
    }
}

/// The most that a busiest replica had, by the mean.
pub(super) fn worst(all: &[Distribution]) -> f64 {
    let peaks = all.iter().map(|one| one.spread.peak_to_mean);
    peaks.fold(1.0, f64::max)
}
