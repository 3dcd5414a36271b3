//! Carrying out one action on an engine. What is done already is no error.

use std::{collections::BTreeMap, time::Duration};

use bollard::{
    errors::Error,
    models::{
        ContainerInspectResponse, ContainerUpdateBody, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
        VolumeCreateRequest,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions, KillContainerOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
        StopContainerOptions, WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;

use super::{
    STACK_LABEL, create,
    disk::Tellers,
    pull,
    transport::{Client, Transport},
    trouble,
};
use crate::{
    action::{EngineAction, Node, Run, StopHow},
    ports::{Given, Progress},
    spec::image::{familiar, shown},
    world::{Class, Fault, Trouble},
};

/// How long one mutation may take; a stop gets its own time on top.
const LIMIT: Duration = Duration::from_secs(50);
/// What a stop may take beyond the time that the container is given.
const AFTER_STOP: Duration = Duration::from_secs(25);
/// The first API version (minor part) whose `stop` takes a signal.
const STOP_TAKES_SIGNAL: usize = 42;

pub(super) async fn apply(
    transport: &Transport,
    tellers: &Tellers,
    node: &Node,
    what: &EngineAction,
    given: &Given,
    progress: &Progress,
) -> Result<(), Trouble> {
    let limit = match what {
        EngineAction::Pull { image } => {
            return pull::pull(transport, tellers, node, image, given, progress).await;
        }
        EngineAction::Stop { stop, .. } => stop.timeout + AFTER_STOP,
        _ => LIMIT,
    };
    transport.within(node, limit, |client| async move { Call { client, node }.carry_out(what, given).await }).await
}

/// One action under way.
struct Call<'a> {
    client: Client,
    node: &'a Node,
}

impl Call<'_> {
    async fn carry_out(&self, what: &EngineAction, given: &Given) -> Result<(), Trouble> {
        match what {
            EngineAction::Pull { .. } => Ok(()),
            EngineAction::CreateVolume { name, labels } => self.create_volume(name, labels).await,
            EngineAction::CreateNetwork { name, labels } => self.create_network(name, labels).await,
            EngineAction::RemoveNetwork { id, name } => self.remove_network(id, name).await,
            EngineAction::Create { run } => self.create(run, given).await,
            EngineAction::Start { id, name } => self.start(id, name).await,
            EngineAction::Stop { id, stop, .. } => self.stop(id, stop).await,
            EngineAction::Rename { id, from, to } => self.rename(id, from, to).await,
            EngineAction::Remove { id, .. } => self.remove(id).await,
            EngineAction::RemoveImage { image } => self.remove_image(image).await,
        }
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Trouble> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        self.client.docker.create_volume(request).await.map_err(|error| self.trouble(&error))?;
        Ok(())
    }

    /// An older engine would make a second network of a name, and then take neither by it: so it is asked first.
    async fn create_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Trouble> {
        let host = &self.node.hostname;
        match self.client.docker.inspect_network(name, None::<InspectNetworkOptions>).await {
            Ok(there) if there.labels.as_ref().and_then(|found| found.get(STACK_LABEL)) == labels.get(STACK_LABEL) => {
                return Ok(());
            }
            Ok(_) => {
                let message = format!(
                    "cannot create the network {name} on {host}: there is one that Evenkeel did not make; remove it, or \
                     declare `adopt: true` on the stack"
                );
                return Err(self.says(409, message));
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(self.trouble(&error)),
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        match self.client.docker.create_network(request).await {
            Ok(_) => Ok(()),
            Err(Error::DockerResponseServerError { status_code, message }) => {
                let advice = match message.contains("address pool") {
                    true => {
                        "; the engine has no range of addresses left: remove networks that nobody uses, or give it \
                             more (default-address-pools of its daemon.json)"
                    }
                    false => "",
                };
                let message = format!("cannot create the network {name} on {host}: {}{advice}", message.trim());
                Err(self.says(status_code, message))
            }
            Err(error) => Err(self.trouble(&error)),
        }
    }

    async fn remove_network(&self, id: &str, name: &str) -> Result<(), Trouble> {
        match self.client.docker.remove_network(id).await {
            Err(Error::DockerResponseServerError { status_code: 403, message }) => {
                let host = &self.node.hostname;
                Err(self.says(403, format!("cannot remove the network {name} on {host}: {}", message.trim())))
            }
            outcome => self.settle(outcome),
        }
    }

    async fn create(&self, run: &Run, given: &Given) -> Result<(), Trouble> {
        let options = CreateContainerOptionsBuilder::new().name(&run.name).build();
        let host = &self.node.hostname;
        if let Some((name, kept)) = run.secrets.iter().find(|(name, _)| !given.env.contains_key(*name)) {
            let message = format!("cannot create {} on {host}: {name} ({}) was not read", run.name, kept.from);
            return Err(Trouble { class: Class::Transient, message });
        }
        match self.client.docker.create_container(Some(options), create::body(run, &given.env)).await {
            Ok(_) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 409, message }) => {
                let Some(there) = self.inspect(&run.name).await? else {
                    // Gone between the two calls, or still being made or removed.
                    return Err(self.says(503, format!("cannot create {} on {host}: {message}", run.name)));
                };
                if is_of(&there, run) {
                    return Ok(());
                }
                let id: String = there.id.unwrap_or_default().chars().take(12).collect();
                let advice = "remove or rename it, or declare `adopt: true` on the stack";
                let message = format!(
                    "cannot create {} on {host}: container {id} has that name and is not the one declared; {advice}",
                    run.name
                );
                Err(self.says(409, message))
            }
            Err(Error::DockerResponseServerError { status_code: 404, message })
                if message.to_lowercase().contains("no such image") =>
            {
                let message = format!(
                    "cannot create {} on {host}: the image {} is not on the instance; it has to be pulled first",
                    run.name, run.image
                );
                Err(self.says(404, message))
            }
            Err(Error::DockerResponseServerError { status_code, message }) => {
                let message = format!("cannot create {} on {host}: {}", run.name, message.trim());
                Err(self.says(status_code, message))
            }
            Err(error) => Err(self.trouble(&error)),
        }
    }

    async fn start(&self, id: &str, name: &str) -> Result<(), Trouble> {
        match self.client.docker.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(()),
            Err(Error::DockerResponseServerError { status_code, message }) => {
                let advice = if message.contains("already allocated") || message.contains("address already in use") {
                    "; another container or process of the instance has that port"
                } else {
                    ""
                };
                let message = format!("cannot start {name} on {}: {}{advice}", self.node.hostname, message.trim());
                Err(self.says(status_code, message))
            }
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// Signal, grace, and only then the engine's kill. A container that is not there has stopped.
    async fn stop(&self, id: &str, how: &StopHow) -> Result<(), Trouble> {
        let mut options = StopContainerOptions { signal: how.signal.clone(), t: Some(create::seconds(how.timeout)) };
        let Some(there) = self.inspect(id).await? else { return Ok(()) };
        if is_always(&there) {
            self.stay_down(id).await?;
        }
        if self.client.api() < STOP_TAKES_SIGNAL
            && let Some(signal) = options.signal.take()
        {
            let own = there.config.and_then(|config| config.stop_signal).unwrap_or_else(|| "SIGTERM".to_owned());
            if bare(&own) != bare(&signal) {
                let running = there.state.is_some_and(|state| state.running == Some(true));
                if running {
                    self.ask_to_end(id, &signal, how.timeout).await?;
                    options.t = Some(0);
                }
            }
        }
        self.settle(self.client.docker.stop_container(id, Some(options)).await)
    }

    /// An engine that is started again starts every stopped container whose policy is `always`: one that was replaced
    /// and is kept would come back beside its successor, with its ports. As `unless-stopped` it is kept up just as well
    /// once Evenkeel starts it again. Source: "Start containers automatically" in Docker's manual.
    async fn stay_down(&self, id: &str) -> Result<(), Trouble> {
        let restart_policy = RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), ..Default::default() };
        let update = ContainerUpdateBody { restart_policy: Some(restart_policy), ..Default::default() };
        self.settle(self.client.docker.update_container(id, update).await)
    }

    /// Sends a signal that an old engine's `stop` cannot send, and waits for the end as long as is allowed.
    async fn ask_to_end(&self, id: &str, signal: &str, grace: Duration) -> Result<(), Trouble> {
        let not_running = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let kill = KillContainerOptionsBuilder::new().signal(signal).build();
        match self.client.docker.kill_container(id, Some(kill)).await {
            // It ended by itself meanwhile.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => return Ok(()),
            outcome => self.settle(outcome)?,
        }
        let mut ended = self.client.docker.wait_container(id, Some(not_running));
        match tokio::time::timeout(grace, ended.next()).await {
            // What it exited with is reported as an error, and is not one here.
            Ok(Some(Err(Error::DockerContainerWaitError { .. }) | Ok(_)) | None) | Err(_) => Ok(()),
            Ok(Some(Err(error))) => self.settle(Err(error)),
        }
    }

    async fn rename(&self, id: &str, from: &str, to: &str) -> Result<(), Trouble> {
        let options = RenameContainerOptionsBuilder::new().name(to).build();
        match self.client.docker.rename_container(id, options).await {
            Ok(()) => Ok(()),
            Err(Error::DockerResponseServerError { status_code, message }) => {
                let there = self.inspect(id).await?;
                if there.and_then(|there| there.name).is_some_and(|name| name.trim_start_matches('/') == to) {
                    return Ok(());
                }
                let host = &self.node.hostname;
                Err(self.says(status_code, format!("cannot rename {from} to {to} on {host}: {}", message.trim())))
            }
            Err(error) => Err(self.trouble(&error)),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), Trouble> {
        let options = RemoveContainerOptionsBuilder::new().v(true).force(false).build();
        match self.client.docker.remove_container(id, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 409, message })
                if message.contains("already in progress") =>
            {
                Ok(())
            }
            outcome => self.settle(outcome),
        }
    }

    /// By its name and without force: an image that has other names keeps them, and one that a container is made from
    /// stays. Source: "Remove an image" of the Docker Engine API.
    async fn remove_image(&self, image: &str) -> Result<(), Trouble> {
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        match self.client.docker.remove_image(&familiar(image), Some(options), None).await {
            Err(Error::DockerResponseServerError { status_code: 409, message }) => {
                let host = &self.node.hostname;
                let message = format!("cannot remove the image {} from {host}: {}", shown(image), message.trim());
                Err(Trouble { class: Class::Transient, message })
            }
            outcome => self.settle(outcome.map(|_| ())),
        }
    }

    /// The container, unless there is none.
    async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, Trouble> {
        match self.client.docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(there) => Ok(Some(there)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// For what a container that is gone has done already.
    fn settle(&self, outcome: Result<(), Error>) -> Result<(), Trouble> {
        match outcome {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    fn trouble(&self, error: &Error) -> Trouble {
        trouble::of(self.node, error)
    }

    fn says(&self, status: u16, message: String) -> Trouble {
        Trouble { class: Class::of(Fault::Answer { code: "", status }), message }
    }
}

/// True for the container that an earlier, interrupted try has made: it bears every label of this one. The
/// image's own labels may come on top.
fn is_of(there: &ContainerInspectResponse, run: &Run) -> bool {
    let labels = there.config.as_ref().and_then(|config| config.labels.as_ref());
    run.labels.contains_key(STACK_LABEL)
        && labels.is_some_and(|labels| run.labels.iter().all(|(name, value)| labels.get(name) == Some(value)))
}

fn is_always(there: &ContainerInspectResponse) -> bool {
    let policy = there.host_config.as_ref().and_then(|config| config.restart_policy.as_ref());
    policy.is_some_and(|policy| policy.name == Some(RestartPolicyNameEnum::ALWAYS))
}

fn bare(signal: &str) -> String {
    let upper = signal.to_uppercase();
    upper.strip_prefix("SIG").unwrap_or(&upper).to_owned()
}
