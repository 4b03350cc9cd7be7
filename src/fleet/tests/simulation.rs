//! A campaign of random histories against the rules of [`super::rules`].
//!
//! ```text
//! FLEET_SIM_EVENTS=1000000 cargo test --release --lib fleet::tests::simulation
//! FLEET_SIM_SEED=17 ...                                 starts with the history of seed 17
//! ```
//!
//! A history that breaks a rule is shrunk and printed as a story.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::chance::Chance;
use super::rules::Broken;
use super::script::{Line, POLICY, Player};
use super::world::World;

/// A fleet and the world around it.
pub struct Run {
    pub player: Player,
    pub world: World,
    /// What has happened.
    pub history: Vec<Line>,
}

impl Run {
    fn new() -> Self {
        Self {
            player: Player::new(),
            world: World::new(POLICY),
            history: Vec::new(),
        }
    }

    /// Lets one thing happen and holds what the fleet does against the rules.
    fn happen(&mut self, line: Line) -> Result<(), Broken> {
        self.history.push(line.clone());
        self.world.take(&line);
        let player = &mut self.player;
        let steps = catch_unwind(AssertUnwindSafe(|| player.play(&line))).map_err(|_| Broken {
            rule: "the fleet does not panic",
            how: line.to_string(),
        })?;
        for step in &steps {
            self.world.execute(step, &line)?;
        }
        match &self.player.fleet {
            Some(fleet) => self.world.inspect(fleet, &line, &steps),
            None => Ok(()),
        }
    }

    /// Answers everything well until nothing is left to answer.
    fn come_to_rest(&mut self) -> Result<(), Broken> {
        for _ in 0..20_000 {
            let debts = self.world.debts();
            if debts.is_empty() {
                let wakes_at = self
                    .player
                    .fleet
                    .as_ref()
                    .and_then(|fleet| fleet.wakes_at());
                let Some(at) = wakes_at else {
                    let fleet = self.player.fleet.as_ref().expect("it has been started");
                    return self.world.inspect_at_rest(fleet);
                };
                self.happen(Line::After(at.saturating_sub(self.world.now)))?;
            }
            for debt in debts {
                let line = Line::Report(debt.settled());
                if self.world.allows(&line) {
                    self.happen(line)?;
                }
            }
        }
        let how = format!("{:?}", self.world.debts());
        Err(Broken {
            rule: "a fleet whose events cease comes to rest",
            how,
        })
    }
}

/// One random history; how long it was, or what it broke.
fn history(seed: u64) -> Result<usize, (Vec<Line>, Broken)> {
    let mut chance = Chance::new(seed);
    let mut run = Run::new();
    let length = chance.length();
    let outcome = (|| {
        for line in chance.beginning() {
            run.happen(line)?;
        }
        for _ in 0..length {
            let line = chance.next(&run);
            run.happen(line)?;
        }
        if chance.of_100(30) {
            run.happen(Line::ShutDown)?;
        }
        run.come_to_rest()
    })();
    match outcome {
        Ok(()) => Ok(run.history.len()),
        Err(broken) => Err((run.history, broken)),
    }
}

/// Plays lines again, leaves out what cannot happen any more, and comes to rest.
fn replay(lines: &[Line]) -> (Vec<Line>, Result<(), Broken>) {
    let mut run = Run::new();
    let outcome = (|| {
        for line in lines {
            if run.world.allows(line) {
                run.happen(line.clone())?;
            }
        }
        run.come_to_rest()
    })();
    (run.history, outcome)
}

/// The shortest history found that breaks the same rule: whatever can be left out is.
fn shrink(mut lines: Vec<Line>, broken: &Broken) -> Vec<Line> {
    let mut chunk = lines.len() / 2;
    while chunk > 0 {
        let before = lines.len();
        let mut at = 2;
        while at < lines.len() {
            let mut fewer = lines.clone();
            fewer.drain(at..lines.len().min(at + chunk));
            match replay(&fewer) {
                (history, Err(other))
                    if other.rule == broken.rule && history.len() < lines.len() =>
                {
                    lines = history;
                }
                _ => at += chunk,
            }
        }
        if lines.len() == before {
            chunk /= 2;
        }
    }
    shrink_start(lines, broken)
}

/// Leaves out replicas that a history can do without.
fn shrink_start(mut lines: Vec<Line>, broken: &Broken) -> Vec<Line> {
    let mut place = 0;
    loop {
        let mut fewer = lines.clone();
        match fewer.get_mut(1) {
            Some(Line::Start(names)) if place < names.len() => drop(names.remove(place)),
            Some(Line::Adopt(found)) if place < found.len() && found.len() > 1 => {
                found.remove(place);
            }
            _ => return lines,
        }
        match replay(&fewer) {
            (history, Err(other)) if other.rule == broken.rule => lines = history,
            _ => place += 1,
        }
    }
}

/// The history as a story to paste into `src/fleet/scenarios/`.
fn story(lines: &[Line]) -> String {
    let mut player = Player::new();
    let mut told = String::new();
    for line in lines {
        // The last line may be the one that panics.
        match catch_unwind(AssertUnwindSafe(|| player.tell(line))) {
            Ok(text) => told.push_str(&text),
            Err(_) => told.push_str(&format!("{line} -> (panics)")),
        }
        told.push('\n');
    }
    told
}

fn from_environment(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_history_breaks_a_rule() {
    let events = from_environment("FLEET_SIM_EVENTS", 50_000) as usize;
    let first = from_environment("FLEET_SIM_SEED", 1);
    let mut happened = 0;
    for seed in first.. {
        match history(seed) {
            Ok(length) => happened += length,
            Err((lines, broken)) => {
                let shortest = shrink(lines, &broken);
                let (_, again) = replay(&shortest);
                let Broken { rule, how } = again.err().unwrap_or(broken);
                panic!("seed {seed} breaks: {rule}\n{how}\n\n{}", story(&shortest));
            }
        }
        if happened >= events {
            println!("{happened} events in {} histories", seed - first + 1);
            return;
        }
    }
}
