//! What replicas of a service are to be: as compose has them now, and as a rollout wants them.

use std::rc::Rc;

use log::warn;
use serde_json::{Value, json};

use super::super::engine::is_missing;
use super::super::labels::{COMPOSE, COMPOSE_CONFIG_HASH, COMPOSE_DEPENDS_ON, COMPOSE_IMAGE};
use super::super::names::container_name;
use super::super::{ComposeService, DockerFleet, PullPolicy, anonymous_volumes, template};
use super::definition;
use crate::api::{ComposeDefinition, NewRollout};
use crate::fleet::{ContainerTemplate, RolloutError};
use crate::ring::ReplicaName;
use crate::runtime::{Definition, ReplicaTemplate, RuntimeError};

/// The command that rolls out what the compose file says of a service. The hash is that of the resolved
/// file: of one with `env_file` compose says another hash than it gives its containers
/// (docker/compose, issue 14001).
pub(super) fn command_line(service: &str) -> String {
    format!(
        "docker compose config --format json | ringmaster ctl rollout start --service {service} \
         --config-hash \"$(docker compose config | docker compose -f - config --hash {service} | \
         cut -d' ' -f2)\" -"
    )
}

impl DockerFleet {
    /// The definition that the service's containers have, if it is another than the known one: compose
    /// may have recreated them since.
    pub(in super::super) async fn owned_definition(
        self: Rc<Self>,
        known: Definition,
        new: &NewRollout,
    ) -> Result<Option<Definition>, RuntimeError> {
        if self.settings.service.is_none() {
            return Ok(None);
        }
        let hash = known.hash();
        let mut replicas: Vec<_> = {
            let service = self.known_service.borrow();
            let is_other = |name: &&_| service.definitions.get(*name) != Some(&hash);
            service.templates.keys().filter(is_other).cloned().collect()
        };
        let Some(service) = &self.settings.service else {
            return Ok(None);
        };
        // One that has what is to come shows nothing that could be gone back to.
        let is_new = |replica: &ReplicaName| {
            let wanted = new.compose.as_ref().map(|new| new.config_hash.as_str());
            let known = self.known_service.borrow();
            let last = known.templates.get(replica);
            let hash = last.and_then(|l| l.template.body["Labels"][COMPOSE_CONFIG_HASH].as_str());
            wanted.is_some() && hash == wanted
        };
        replicas.sort_by_key(|replica| (is_new(replica), service.number(replica)));
        let mut first = None;
        for replica in &replicas {
            let name = container_name(self.prefix(), replica);
            match self.engine.inspect_json(&name).await {
                Ok(found) => {
                    first = Some((name, found));
                    break;
                }
                // A stand-in plays it.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(self.engine.explain(error)),
            }
        }
        let Some((name, found)) = first else {
            return Ok(None);
        };
        let id = found["Image"].as_str().unwrap_or_default();
        let image = self.engine.image_json(id).await.unwrap_or_default();
        let mut body = template::body(&found, &image)?;
        anonymous_volumes::forget(&mut body);
        template::forget_alias(&mut body, &name);
        let owned = Definition {
            image: Some(self.engine.image_of(&found).await),
            template: ReplicaTemplate {
                port: template::port_of(&found),
                ..ReplicaTemplate::default()
            },
            network: known.network,
            like: Some(ContainerTemplate {
                container: name,
                body,
            }),
            ..Definition::default()
        };
        let mut known = self.known_service.borrow_mut();
        known.by_config_hash.clear();
        if let Some(config) = config_hash(&owned) {
            known.by_config_hash.insert(config.to_owned(), owned.hash());
        }
        for replica in replicas {
            known.definitions.insert(replica, owned.hash());
        }
        Ok(Some(owned))
    }

    /// The definition that a rollout is to bring.
    pub(in super::super) async fn define(
        self: Rc<Self>,
        new: NewRollout,
        present: Definition,
    ) -> Result<Definition, RolloutError> {
        let invalid = |wrong: String| RolloutError::Invalid(wrong);
        match (&self.settings.service, &new.compose) {
            (None, _) => present.with_changes(&new, "docker"),
            (Some(service), None) => {
                let mut changed = present.with_changes(&new, "docker")?;
                let hash = changed.hash();
                if changed != present
                    && let Some(like) = &mut changed.like
                {
                    // It is not what the compose file says, so it must not pass for that.
                    like.body["Labels"][COMPOSE_CONFIG_HASH] = json!(format!("ringmaster-{hash}"));
                    warn!(
                        "docker: the next docker compose up undoes a rollout that the compose file does not \
                         say; one by the file: {}",
                        command_line(&service.name)
                    );
                }
                Ok(changed)
            }
            (Some(service), Some(compose)) => {
                let is_alone = new.image.is_none() && new.command.is_none() && new.env.is_empty();
                if !is_alone {
                    let wrong = "compose: it says image, command and variables itself";
                    return Err(invalid(wrong.to_owned()));
                }
                self.define_by_compose(service, compose, present).await
            }
        }
    }

    async fn define_by_compose(
        &self,
        service: &ComposeService,
        compose: &ComposeDefinition,
        present: Definition,
    ) -> Result<Definition, RolloutError> {
        let wrong = |wrong: String| RolloutError::Invalid(format!("compose: {wrong}"));
        let ComposeService { project, name } = service;
        if (&compose.project, &compose.service) != (project, name) {
            return Err(wrong(format!(
                "this is service {} of project {}, and the balancer takes over {name} of {project}",
                compose.service, compose.project
            )));
        }
        let hash = &compose.config_hash;
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong(format!(
                "config_hash: {hash:?} is not what docker compose config --hash {name} says: {}",
                command_line(name)
            )));
        }
        let read = definition::read(compose).map_err(wrong)?;
        let pull = match read.is_pulled {
            true => PullPolicy::Missing,
            false => PullPolicy::Never,
        };
        let impossible = |error: RuntimeError| RolloutError::Impossible(error.to_string());
        self.engine
            .ensure_image(&read.image, pull)
            .await
            .map_err(impossible)?;
        self.check_there("networks", "network", &read.networks)
            .await?;
        self.check_there("volumes", "volume", &read.volumes).await?;
        let network = present.network.clone().unwrap_or_default();
        if !read.networks.contains(&network) {
            return Err(RolloutError::Impossible(format!(
                "the service is not in network {network} any more, by which the balancer reaches it"
            )));
        }
        let image = self.engine.image_json(&read.image).await;
        let image = image.map_err(|error| impossible(self.engine.explain(error)))?;
        let id = image["Id"].as_str().unwrap_or_default();
        if present.like.as_ref().is_some_and(|like| {
            let labels = &like.body["Labels"];
            labels[COMPOSE_CONFIG_HASH] == hash.as_str() && labels[COMPOSE_IMAGE] == id
        }) {
            return Ok(present);
        }
        let mut body = read.body;
        let labels = present.like.as_ref().map(|like| &like.body["Labels"]);
        let labels = labels.and_then(Value::as_object).into_iter().flatten();
        // Those of the project.
        for (key, value) in labels.filter(|(key, _)| key.starts_with(COMPOSE)) {
            body["Labels"][key] = value.clone();
        }
        body["Labels"][COMPOSE_CONFIG_HASH] = json!(hash);
        body["Labels"][COMPOSE_IMAGE] = json!(id);
        body["Labels"][COMPOSE_DEPENDS_ON] = json!(read.depends_on);
        let port = template::port_of(&json!({ "Config": body }));
        let container = present.like.map(|like| like.container);
        let definition = Definition {
            image: Some(read.image),
            template: ReplicaTemplate {
                port,
                ..ReplicaTemplate::default()
            },
            network: present.network,
            like: Some(ContainerTemplate {
                container: container.unwrap_or_default(),
                body,
            }),
            ..Definition::default()
        };
        let mut known = self.known_service.borrow_mut();
        let config = (hash.clone(), definition.hash());
        known.by_config_hash.extend([config]);
        Ok(definition)
    }

    /// Networks and volumes are compose's to make.
    async fn check_there(
        &self,
        path: &str,
        kind: &str,
        names: &[String],
    ) -> Result<(), RolloutError> {
        for name in names {
            match self.engine.get_json(&format!("/{path}/{name}")).await {
                Ok(_) => {}
                Err(error) if is_missing(&error) => {
                    return Err(RolloutError::Impossible(format!(
                        "there is no {kind} {name}: docker compose up --no-start --no-recreate makes it"
                    )));
                }
                Err(error) => {
                    let error = self.engine.explain(error);
                    return Err(RolloutError::Impossible(error.to_string()));
                }
            }
        }
        Ok(())
    }
}

fn config_hash(definition: &Definition) -> Option<&str> {
    definition.like.as_ref()?.body["Labels"][COMPOSE_CONFIG_HASH].as_str()
}
