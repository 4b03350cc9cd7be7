//! Calls to the Docker engine that runs a replica.

use std::cell::Cell;

use bollard::errors::Error;
use bollard::query_parameters::KillContainerOptions;

use super::{Call, Effect};
use crate::runtime::docker::{Engine, is_missing, is_of_replica};

/// How often a container is paused before the engine's refusal counts: on a busy machine runc gives
/// up with "unable to freeze", and succeeds the next time.
const PAUSE_ATTEMPTS: usize = 5;

/// A replica's container.
pub(super) struct Container {
    name: String,
    /// Its successor has the same name, but another id.
    id: String,
    engine: Engine,
    may_be_paused: Cell<bool>,
}

impl Container {
    /// A replica's container by its name; else why that is impossible.
    pub(super) async fn find(
        name: &str,
        replica: &str,
        engine: Option<String>,
    ) -> Result<Self, String> {
        let engine = engine.map_or_else(Engine::from_env, Engine::connect);
        let engine = engine.map_err(|error| error.0)?;
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
        if !is_of_replica(name, &labels.unwrap_or_default(), replica) {
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

    /// Whether it was paused here and not resumed.
    pub(super) fn may_be_paused(&self) -> bool {
        self.may_be_paused.get()
    }

    pub(super) async fn call(&self, call: Call) -> Result<Effect, String> {
        let docker = &self.engine.docker;
        match call {
            Call::Kill => {
                let signal = None::<KillContainerOptions>;
                let killed = docker.kill_container(&self.id, signal).await;
                self.effect(killed, |state| !state.running).await
            }
            Call::Pause => {
                // Before the call: the caller may be interrupted before it returns.
                self.may_be_paused.set(true);
                let mut attempt = 1;
                loop {
                    let paused = docker.pause_container(&self.id).await;
                    match self.effect(paused, |state| state.paused).await {
                        Err(_) if attempt < PAUSE_ATTEMPTS => attempt += 1,
                        effect => return effect,
                    }
                }
            }
            Call::Resume => {
                let unpaused = docker.unpause_container(&self.id).await;
                let effect = self.effect(unpaused, |state| !state.paused).await?;
                self.may_be_paused.set(false);
                Ok(effect)
            }
        }
    }

    /// The effect of a call. Engines refuse what makes no sense with codes that differ by
    /// release, so an error is judged by the container's state.
    async fn effect(
        &self,
        called: Result<(), Error>,
        has_effect: impl Fn(State) -> bool,
    ) -> Result<Effect, String> {
        let Err(refused) = called else {
            return Ok(Effect::Applied);
        };
        match self.state().await {
            Ok(state) if !state.running => Ok(Effect::Gone),
            Ok(state) if has_effect(state) => Ok(Effect::Applied),
            Err(error) if is_missing(&error) => Ok(Effect::Gone),
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

/// The container by the engine.
#[derive(Debug, Clone, Copy)]
struct State {
    running: bool,
    paused: bool,
}
