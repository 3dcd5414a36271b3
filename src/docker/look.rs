//! One look at an engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bollard::{
    errors::Error,
    models::{
        ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
        ContainerSummaryStateEnum, HealthStatusEnum, Network,
    },
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptions, ListNetworksOptions,
        ListVolumesOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ASKED_LABEL, SAYS_LABEL, SECRETS_LABEL, STACK_LABEL, images,
    transport::{Client, Transport},
    trouble, words,
};
use crate::{
    action::Node,
    secret::Secret,
    world::{ContainerSeen, Engine, Health, NetworkSeen, State, Trouble},
};

/// How long a look may take, whatever happens.
const LIMIT: Duration = Duration::from_secs(10);
/// How many containers are inspected at once.
const AT_ONCE: usize = 4;

/// Everything on an engine: four lists, and an inspection of each container that is ours.
pub(super) async fn look(transport: &Transport, node: &Node, wanted: &BTreeSet<String>) -> Result<Engine, Trouble> {
    transport
        .within(
            node,
            LIMIT,
            |client| async move { see(&client, wanted).await.map_err(|error| trouble::of(node, &error)) },
        )
        .await
}

async fn see(client: &Client, wanted: &BTreeSet<String>) -> Result<Engine, Error> {
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let (clock, listed, images, volumes, networks) = tokio::try_join!(
        client.clock(),
        client.docker.list_containers(Some(all)),
        client.docker.list_images(Some(ListImagesOptions { digests: true, ..ListImagesOptions::default() })),
        client.docker.list_volumes(None::<ListVolumesOptions>),
        client.docker.list_networks(None::<ListNetworksOptions>),
    )?;
    let networks = by_name(networks, &listed);
    let containers: BTreeMap<String, ContainerSeen> = stream::iter(listed)
        .map(|summary| container(client, summary))
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|seen| async move { Ok(seen) })
        .try_collect()
        .await?;
    Ok(Engine {
        containers,
        images: images::present(wanted, &images),
        volumes: volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect(),
        networks,
        connections: BTreeMap::new(),
        clock,
        stored: images::stored(&images),
        disk: None,
    })
}

/// The networks, with the containers that are in each, running or not.
fn by_name(networks: Vec<Network>, listed: &[ContainerSummary]) -> BTreeMap<String, NetworkSeen> {
    let is_in = |container: &&ContainerSummary, name: &str, id: &str| {
        let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        let mode = container.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
        match networks.and_then(|networks| networks.get(name)) {
            // One that was never started has no id there yet; another id is that of a network which is gone.
            Some(there) => there.network_id.as_deref().is_none_or(|found| found.is_empty() || found == id),
            None => mode == Some(name),
        }
    };
    let seen = networks.into_iter().filter_map(|network| {
        let (name, id) = (network.name?, network.id?);
        let users = listed.iter().filter(|it| is_in(it, &name, &id)).filter_map(|it| it.id.clone()).collect();
        let labels = network.labels.unwrap_or_default().into_iter().collect();
        Some((name, NetworkSeen { id, labels, users }))
    });
    seen.collect()
}

/// What is told of one container; nothing if it vanished since the list was made.
async fn container(client: &Client, summary: ContainerSummary) -> Result<Option<(String, ContainerSeen)>, Error> {
    // A link shows up as a further name, `/web0/redis`.
    let names = summary.names.as_deref().unwrap_or_default();
    let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
    let (Some(id), Some(name)) = (summary.id.clone(), own.map(str::to_owned)) else { return Ok(None) };
    let labels = summary.labels.clone().unwrap_or_default();
    if !labels.contains_key(STACK_LABEL) {
        return Ok(Some((name, foreign(id, summary))));
    }
    let inspected = match client.docker.inspect_container(&id, None::<InspectContainerOptions>).await {
        Ok(inspected) => inspected,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut seen = ours(id, &inspected);
    seen.labels = labels.into_iter().collect();
    let secrets = given(&seen.labels, SECRETS_LABEL, &inspected);
    seen.says = says(&seen.labels, &inspected).filter(|(name, _)| !secrets.contains_key(name)).collect();
    let words = words::last(client, &seen, &inspected).await;
    // It may have written down what it was given.
    seen.last_words = words.map(|words| secrets.values().fold(words, |words, secret| secret.hide(&words)));
    let asked = given(&seen.labels, ASKED_LABEL, &inspected);
    seen.secrets = secrets.into_iter().chain(asked).map(|(name, secret)| (name, secret.seal())).collect();
    Ok(Some((name, seen)))
}

fn ours(id: String, inspected: &ContainerInspectResponse) -> ContainerSeen {
    let state = inspected.state.clone().unwrap_or_default();
    ContainerSeen {
        id,
        labels: BTreeMap::new(),
        state: doing(&state),
        image: inspected.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default(),
        image_id: inspected.image.clone().unwrap_or_default(),
        restarts: inspected.restart_count.and_then(|count| count.try_into().ok()).unwrap_or_default(),
        health: state.health.as_ref().and_then(|health| match health.status? {
            HealthStatusEnum::STARTING => Some(Health::Starting),
            HealthStatusEnum::HEALTHY => Some(Health::Healthy),
            HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
            HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
        }),
        // The engine tells "never" as the year 1.
        started_at: state.started_at.filter(|at| !at.starts_with("0001-")).and_then(|at| at.parse().ok()),
        finished_at: state.finished_at.filter(|at| !at.starts_with("0001-")).and_then(|at| at.parse().ok()),
        says: BTreeMap::new(),
        secrets: BTreeMap::new(),
        last_words: None,
    }
}

/// The variables that it was given by reference, with the values that it has.
fn given(
    labels: &BTreeMap<String, String>,
    label: &str,
    inspected: &ContainerInspectResponse,
) -> BTreeMap<String, Secret> {
    named(labels, label, inspected).map(|(name, value)| (name, Secret::new(value))).collect()
}

/// The variables whose values are told to others: those of its image are among them.
fn says(
    labels: &BTreeMap<String, String>,
    inspected: &ContainerInspectResponse,
) -> impl Iterator<Item = (String, String)> {
    named(labels, SAYS_LABEL, inspected)
}

/// The variables that a label names.
fn named(
    labels: &BTreeMap<String, String>,
    label: &str,
    inspected: &ContainerInspectResponse,
) -> impl Iterator<Item = (String, String)> {
    let names: BTreeSet<String> = labels.get(label).iter().flat_map(|it| it.split(' ')).map(str::to_owned).collect();
    let env = inspected.config.as_ref().and_then(|config| config.env.clone()).unwrap_or_default();
    let values = env.into_iter().filter_map(|it| it.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())));
    values.filter(move |(name, _)| names.contains(name))
}

fn doing(state: &ContainerState) -> State {
    let exit_code = state.exit_code.unwrap_or_default();
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => State::Running,
        Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting { exit_code },
        Some(ContainerStateStatusEnum::EXITED) => State::Exited { exit_code },
        Some(ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::REMOVING) => State::Dead,
        Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY) | None => State::Created,
    }
}

/// One that is not ours: its name is taken, and that is all that matters.
fn foreign(id: String, summary: ContainerSummary) -> ContainerSeen {
    // "Exited (137) 2 hours ago"
    let exit_code = summary
        .status
        .as_deref()
        .and_then(|status| status.split_once('(')?.1.split_once(')')?.0.parse().ok())
        .unwrap_or_default();
    ContainerSeen {
        id,
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        state: match summary.state {
            Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::STOPPING) => State::Running,
            Some(ContainerSummaryStateEnum::PAUSED) => State::Paused,
            Some(ContainerSummaryStateEnum::RESTARTING) => State::Restarting { exit_code },
            Some(ContainerSummaryStateEnum::EXITED) => State::Exited { exit_code },
            Some(ContainerSummaryStateEnum::DEAD | ContainerSummaryStateEnum::REMOVING) => State::Dead,
            Some(ContainerSummaryStateEnum::CREATED | ContainerSummaryStateEnum::EMPTY) | None => State::Created,
        },
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        restarts: 0,
        health: None,
        started_at: None,
        finished_at: None,
        says: BTreeMap::new(),
        secrets: BTreeMap::new(),
        last_words: None,
    }
}
