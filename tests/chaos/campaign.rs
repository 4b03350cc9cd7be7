//! One fault after the other, done to one balancer, and a look at it before and after.

use std::time::Instant;

use fastrand::Rng;

use crate::Options;
use crate::engine_baseline::{self, ALLOWED};
use crate::faults::{ALL, Fault};
use crate::fixture::{Fixture, Runtime};
use crate::load;
use crate::measurement::measure_fault;
use crate::network;
use crate::report::Campaign;
use crate::support::{eventually, resident_kib, sockets_of};

/// Sockets that may be open for reasons of their own: a heartbeat, say.
const SOME_FILES: usize = 8;
/// Allocators keep what they had; a leak grows beyond.
const SOME_KIB: u64 = 64 * 1024;

/// None if there is nothing to do, or no way.
pub async fn run(runtime: Runtime, options: &Options) -> Option<Campaign> {
    let begun = Instant::now();
    let tell = |what: &str| {
        let at = begun.elapsed().as_secs();
        eprintln!("chaos: {}: {what} ({at} s)", runtime.name());
    };
    let faults = faults(runtime, options);
    if faults.is_empty() {
        return None;
    }
    let mut fixture = Fixture::set(runtime).await?;
    let pid = fixture.balancer.pid();
    let (files_before, resident_kib_before) = (sockets_of(pid), resident_kib(pid));

    let mut rng = Rng::with_seed(options.seed);
    let load = load::start(&fixture.balancer.url(""), options.clients);
    let mut respawn = None;
    if runtime == Runtime::Docker && options.timed {
        tell("respawn");
        respawn = Some(engine_baseline::measure(&fixture, &load).await);
    }
    let mut rows = Vec::new();
    for _ in 0..options.rounds {
        for fault in &faults {
            tell(fault.name());
            rows.push(measure_fault(*fault, &mut fixture, &load, &mut rng, options.timed).await);
        }
    }
    tell("the end");
    load.stop().await;
    let pid = fixture.balancer.pid();
    // Connections that are kept for the next request end after some seconds without one.
    eventually("open files are back to what they were", || async {
        sockets_of(pid) <= files_before + SOME_FILES
    })
    .await;
    let mut campaign = Campaign {
        runtime: runtime.name(),
        rows,
        respawn,
        posts: fixture.accounting.posts(),
        doubled: fixture.accounting.doubled(),
        files_before,
        files_after: sockets_of(pid),
        resident_kib_before,
        resident_kib_after: resident_kib(pid),
        broken: Vec::new(),
        log: fixture.balancer.log(),
    };
    judge(&mut campaign);
    Some(campaign)
}

/// Those that can be done there and are wanted.
fn faults(runtime: Runtime, options: &Options) -> Vec<Fault> {
    let mut faults = options.faults.clone();
    faults.retain(|fault| fault.is_for(runtime));
    if !options.timed && options.faults.len() == ALL.len() {
        faults.retain(|fault| fault.is_quick(runtime));
    }
    let is_of_network = |fault: &Fault| matches!(fault, Fault::Network(_));
    if faults.iter().any(is_of_network) && !network::is_reachable() {
        faults.retain(|fault| !is_of_network(fault));
    }
    faults
}

fn judge(campaign: &mut Campaign) {
    let mut broken = Vec::new();
    if campaign.doubled > 0 {
        broken.push(format!("{} POSTs were executed twice", campaign.doubled));
    }
    if campaign.resident_kib_after > campaign.resident_kib_before + SOME_KIB {
        broken.push("memory has grown".to_owned());
    }
    let slow = campaign.respawn.as_ref();
    if let Some(slow) = slow.filter(|respawn| respawn.ratio() > ALLOWED) {
        let ratio = slow.ratio();
        broken.push(format!(
            "respawn takes {ratio:.2} times the engine's baseline"
        ));
    }
    campaign.broken = broken;
}
