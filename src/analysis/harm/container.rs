//! Calls to the engine whose container a replica is: that of `DOCKER_HOST`, or of the usual
//! socket, as it is for the balancer.

use std::cell::Cell;

use bollard::errors::Error;
use bollard::query_parameters::KillContainerOptions;

use super::Blow;
use crate::runtime::docker::{Engine, is_missing, read_instance};

/// A replica's container.
pub(super) struct Container {
    name: String,
    /// Its successor has the same name, but another id.
    id: String,
    engine: Engine,
    may_be_paused: Cell<bool>,
}

impl Container {
    /// A replica's container by its name. In words, why it cannot be had.
    pub(super) async fn find(name: &str, replica: &str) -> Result<Self, String> {
        let engine = Engine::from_env().map_err(|error| error.0)?;
        engine.handshake().await.map_err(|error| error.0)?;
        let found = match engine.inspect(name).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => {
                return Err(format!(
                    "the Docker engine at {} has no container {name}: it is gone, or the \
                     balancer's engine is another one, which DOCKER_HOST can name",
                    engine.host()
                ));
            }
            Err(error) => return Err(engine.explain(error).0),
        };
        let labels = found.config.and_then(|config| config.labels);
        let plays = read_instance(&labels.unwrap_or_default());
        if plays.is_none_or(|id| id.replica.as_str() != replica) {
            return Err(format!(
                "container {name} of the Docker engine at {} is not a balancer's {replica}",
                engine.host()
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            id: found.id.unwrap_or_default(),
            engine,
            may_be_paused: Cell::new(false),
        })
    }

    /// Whether it was paused by us, and not let go again.
    pub(super) fn may_be_paused(&self) -> bool {
        self.may_be_paused.get()
    }

    pub(super) async fn kill(&self) -> Result<Blow, String> {
        let signal = None::<KillContainerOptions>;
        let killed = self.engine.docker.kill_container(&self.id, signal).await;
        self.judge(killed, |state| !state.running).await
    }

    pub(super) async fn pause(&self) -> Result<Blow, String> {
        // Before the call: who asks may not live to hear the answer.
        self.may_be_paused.set(true);
        let paused = self.engine.docker.pause_container(&self.id).await;
        self.judge(paused, |state| state.paused).await
    }

    pub(super) async fn unpause(&self) -> Result<Blow, String> {
        let unpaused = self.engine.docker.unpause_container(&self.id).await;
        let judged = self.judge(unpaused, |state| !state.paused).await;
        if judged.is_ok() {
            self.may_be_paused.set(false);
        }
        judged
    }

    /// Engines refuse what makes no sense with codes that differ by release. What the
    /// container is now says more: it is gone, it is `as_wanted`, or the call has failed.
    async fn judge(
        &self,
        called: Result<(), Error>,
        as_wanted: impl Fn(State) -> bool,
    ) -> Result<Blow, String> {
        let Err(refused) = called else {
            return Ok(Blow::Landed);
        };
        match self.state().await {
            Ok(state) if !state.running => Ok(Blow::Missed),
            Ok(state) if as_wanted(state) => Ok(Blow::Landed),
            Err(error) if is_missing(&error) => Ok(Blow::Missed),
            _ => {
                let refused = self.engine.explain(refused);
                Err(format!("container {}: {refused}", self.name))
            }
        }
    }

    async fn state(&self) -> Result<State, Error> {
        let state = self.engine.inspect(&self.id).await?.state;
        let state = state.unwrap_or_default();
        Ok(State {
            running: state.running.unwrap_or_default(),
            paused: state.paused.unwrap_or_default(),
        })
    }
}

/// What the engine says of it.
#[derive(Debug, Clone, Copy)]
struct State {
    running: bool,
    paused: bool,
}
