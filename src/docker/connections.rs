//! Who is connected to the ports that a container publishes.
//!
//! The engine's API tells nothing of connections, but the container does: they arrive in its own network namespace,
//! at the container's port, whether by DNAT or through `docker-proxy`, and the kernel lists them there in
//! `/proc/net/tcp` (`proc_net_tcp.txt` of the kernel's documentation). An image without `cat` cannot tell.

use std::{collections::BTreeSet, time::Duration};

use bollard::{errors::Error, models::ContainerInspectResponse, query_parameters::InspectContainerOptions};

use super::{
    exec,
    transport::{Client, Transport},
};
use crate::action::Node;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes that are read at most: 150 a connection.
const READ: usize = 4 * 1024 * 1024;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: &str = "01";

/// How many connections are established to what a container publishes; nothing where that cannot be told.
pub(super) async fn count(transport: &Transport, node: &Node, id: &str) -> Option<u32> {
    let counted = transport.within(node, LIMIT, |client| async move { Ok(ask(&client, id).await) }).await;
    counted.ok()?.ok().flatten()
}

async fn ask(client: &Client, id: &str) -> Result<Option<u32>, Error> {
    let inspected = client.docker.inspect_container(id, None::<InspectContainerOptions>).await?;
    let ports = published(&inspected);
    if ports.is_empty() {
        return Ok(None);
    }
    let told = exec::answer(client, id, &["cat", "/proc/net/tcp", "/proc/net/tcp6"], READ).await?;
    Ok(told.and_then(|told| connections(&told, &ports)))
}

/// The TCP ports of a running container that its host publishes. One in the host's own network has none: whose a
/// connection there is, nobody can tell.
fn published(inspected: &ContainerInspectResponse) -> BTreeSet<u16> {
    let runs = inspected.state.as_ref().is_some_and(|state| state.running == Some(true));
    let ports = inspected.network_settings.as_ref().and_then(|network| network.ports.as_ref());
    let bound = |(port, bindings): (&String, &Option<Vec<_>>)| {
        let port = port.strip_suffix("/tcp")?.parse().ok()?;
        bindings.as_ref().is_some_and(|bindings| !bindings.is_empty()).then_some(port)
    };
    ports.filter(|_| runs).into_iter().flatten().filter_map(bound).collect()
}

/// Counts in the kernel's tables; nothing when there is no table. What a container asks of itself, its health check
/// above all, does not count.
fn connections(tables: &str, ports: &BTreeSet<u16>) -> Option<u32> {
    let mut lines = tables.lines().map(str::trim_start);
    lines.clone().find(|line| line.starts_with("sl "))?;
    let counts = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (address, port) = local.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(state == ESTABLISHED && ports.contains(&port) && !is_loopback(address))
    };
    let count = lines.by_ref().filter(|line| counts(line) == Some(true)).count();
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Addresses are told in words of four bytes, each in the machine's order: little endian wherever Docker runs.
fn is_loopback(address: &str) -> bool {
    let v4 = |address: &str| address.ends_with("7F");
    match address.len() {
        8 => v4(address),
        _ => {
            address == "00000000000000000000000001000000"
                || (address.starts_with("0000000000000000FFFF0000") && v4(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 020011AC:1F90 01D80A0A:D431 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 30 10 -1
   2: 020011AC:1F90 01D80A0A:D433 06 00000000:00000000 03:00000EA1 00000000     0        0 0 3 0
   3: 0100007F:1F90 0100007F:D435 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 30 10 -1
   4: 020011AC:D437 01D80A0A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0 20 4 30 10 -1
   5: 020011AC:0050 01D80A0A:D439 01 00000000:00000000 00:00000000 00000000     0        0 15 1 0 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 0000000000000000FFFF0000020011AC:1F90 0000000000000000FFFF000001D80A0A:D43B 01 00000000:00000000
   2: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:D43D 01 00000000:00000000
   3: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:D43F 01 00000000:00000000
";

    #[test]
    fn what_others_have_established_to_the_published_ports_is_counted() {
        assert_eq!(connections(TABLES, &BTreeSet::from([8080])), Some(2));
        assert_eq!(connections(TABLES, &BTreeSet::from([80, 8080])), Some(3));
        assert_eq!(connections(TABLES, &BTreeSet::from([443])), Some(0));
    }

    #[test]
    fn what_is_no_table_tells_nothing() {
        for said in ["", "OCI runtime exec failed: exec: \"cat\": executable file not found in $PATH: unknown\r\n"] {
            assert_eq!(connections(said, &BTreeSet::from([8080])), None);
        }
        let cut = TABLES.lines().next().unwrap();
        assert_eq!(connections(&format!("{cut}\n  1: \n 2: x:y z 01\n"), &BTreeSet::from([8080])), Some(0));
    }
}
