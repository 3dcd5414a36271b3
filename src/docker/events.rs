//! Following an engine's events, so that a change is noticed at once. What the event says is never used.

use std::{collections::HashMap, time::Duration};

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::transport::Transport;
use crate::action::Node;

/// How long the engine may take to begin its answer.
const HELLO: Duration = Duration::from_secs(10);

/// What happens to containers. Health checks make an `exec` event every few seconds, which wakes nobody.
const KINDS: [&str; 14] = [
    "create",
    "start",
    "restart",
    "stop",
    "kill",
    "die",
    "oom",
    "destroy",
    "rename",
    "pause",
    "unpause",
    "update",
    "health_status: healthy",
    "health_status: unhealthy",
];

/// Sends the hostname for every event, until the stream or its listener ends.
pub(super) async fn watch(transport: &Transport, node: &Node, wake: mpsc::Sender<String>) {
    let client = match transport.within(node, HELLO, |client| async { Ok(client) }).await {
        Ok(client) => client,
        Err(trouble) => {
            tracing::debug!(host = node.hostname, "no events: {}", trouble.message);
            return;
        }
    };
    let filters = HashMap::from([("type", vec!["container"]), ("event", KINDS.to_vec())]);
    let docker = client.docker.with_timeout(HELLO);
    let mut events = docker.events(Some(EventsOptionsBuilder::new().filters(&filters).build()));
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = wake.closed() => return,
        };
        match event {
            Some(Ok(_)) => match wake.try_send(node.hostname.clone()) {
                // A full channel carries the wake already.
                Ok(()) | Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Closed(_)) => return,
            },
            Some(Err(error)) => {
                tracing::debug!(host = node.hostname, "events ended: {error}");
                return;
            }
            None => return,
        }
    }
}
