//! How much room there is on the disk under an engine's images and containers.
//!
//! The engine's API does not tell. A container does: its root is an overlay whose upper layer lies beside the images,
//! and an overlay answers `statfs` with what its upper layer's file system says (`ovl_statfs` of the kernel's
//! `fs/overlayfs/super.c`). So `df /` in a running container that has `df` tells of the disk that a pull fills. With a
//! storage driver that gives each container a disk of its own (devicemapper, zfs, btrfs' quotas) it does not, and nobody
//! is asked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{errors::Error, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};

use super::{
    STACK_LABEL, exec,
    transport::{Client, Transport},
};
use crate::{action::Node, world::Disk};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes that are read at most.
const READ: usize = 64 * 1024;
/// Containers that are asked at most, each of another image.
const ASKED: usize = 3;
/// Storage drivers under which a container's root is on the disk of the images: `overlayfs` is containerd's.
const SHARED: [&str; 5] = ["overlay2", "overlayfs", "overlay", "fuse-overlayfs", "vfs"];

/// Who can tell, by engine; so that what cannot is asked once.
#[derive(Debug, Default)]
pub(super) struct Tellers(Mutex<BTreeMap<String, Teller>>);

#[derive(Debug, Clone, Default)]
struct Teller {
    /// Whether the engine's storage driver is one of those.
    shares: Option<bool>,
    /// The container that told last.
    id: Option<String>,
    /// Images without `df`.
    mute: BTreeSet<String>,
}

impl Tellers {
    /// What one of the engine's own containers says; nothing where none can.
    pub(super) async fn look(&self, transport: &Transport, node: &Node) -> Option<Disk> {
        let asked = transport.within(node, LIMIT, |client| async move { Ok(self.ask(&client, node).await) }).await;
        asked.ok()?.ok().flatten()
    }

    /// The same over a connection that is there.
    pub(super) async fn ask(&self, client: &Client, node: &Node) -> Result<Option<Disk>, Error> {
        let mut teller = self.lock().get(&node.endpoint).cloned().unwrap_or_default();
        let told = teller.ask(client).await;
        self.lock().insert(node.endpoint.clone(), teller);
        told
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Teller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    async fn ask(&mut self, client: &Client) -> Result<Option<Disk>, Error> {
        if self.shares.is_none() {
            self.shares = client.docker.info().await?.driver.map(|driver| SHARED.contains(&driver.as_str()));
        }
        if self.shares != Some(true) {
            return Ok(None);
        }
        let only = HashMap::from([("label", vec![STACK_LABEL]), ("status", vec!["running"])]);
        let running = ListContainersOptionsBuilder::new().filters(&only).build();
        for (id, image) in self.candidates(client.docker.list_containers(Some(running)).await?) {
            match df(client, &id).await {
                Ok(Some(disk)) => {
                    self.id = Some(id);
                    return Ok(Some(disk));
                }
                Ok(None) => drop(self.mute.insert(image)),
                Err(Error::DockerResponseServerError { message, .. })
                    if message.contains("executable file not found") =>
                {
                    self.mute.insert(image);
                }
                // It ended a moment ago, say.
                Err(Error::DockerResponseServerError { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Who is asked, with its image: the one that told last before any other.
    fn candidates(&self, running: Vec<ContainerSummary>) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            running.into_iter().filter_map(|one| Some((one.id?, one.image_id.unwrap_or_default()))).collect();
        all.sort_by_key(|(id, _)| (self.id.as_ref() != Some(id), id.clone()));
        let mut images = self.mute.clone();
        all.retain(|(_, image)| images.insert(image.clone()));
        all.truncate(ASKED);
        all
    }
}

async fn df(client: &Client, id: &str) -> Result<Option<Disk>, Error> {
    let told = exec::answer(client, id, &["df", "-Pk", "/"], READ).await?;
    Ok(told.as_deref().and_then(read))
}

/// Reads what `df -Pk /` prints: one line for the file system, its columns counted from the end because its name may
/// hold blanks ("df" of POSIX.1-2017, "Output Format").
fn read(told: &str) -> Option<Disk> {
    let line = told.lines().skip(1).find(|line| line.split_ascii_whitespace().next_back() == Some("/"))?;
    let mut columns = line.split_ascii_whitespace().rev().skip(1);
    columns.next()?.strip_suffix('%')?;
    let mut number = || columns.next()?.parse::<u64>().ok()?.checked_mul(1024);
    let (free, used) = (number()?, number()?);
    Some(Disk { total: used.checked_add(free)?, free }).filter(|disk| disk.total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_of_coreutils_and_of_busybox_are_read() {
        for told in [
            "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
             overlay          264212084 60417608  34868280      64% /\n",
            "Filesystem           1024-blocks    Used Available Capacity Mounted on\n\
             a disk with blanks 264212084 60417608 34868280  64% /\n",
        ] {
            let disk = read(told).unwrap();
            assert_eq!((disk.free, disk.total), (34_868_280 << 10, (34_868_280 + 60_417_608) << 10));
            assert_eq!(disk.used_percent(), 64);
        }
    }

    #[test]
    fn what_is_no_such_table_tells_nothing() {
        for told in [
            "",
            "OCI runtime exec failed: exec failed: exec: \"df\": executable file not found in $PATH: unknown\r\n",
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n",
            "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay - - - - /\n",
            "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 1 1 1 64% /data\n",
            "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 0 0 0 0% /\n",
            "Filesystem\n/\n",
        ] {
            assert_eq!(read(told), None, "{told}");
        }
    }

    #[test]
    fn who_told_last_is_asked_first_and_what_cannot_tell_not_again() {
        let running = |id: &str, image: &str| ContainerSummary {
            id: Some(id.into()),
            image_id: Some(image.into()),
            ..ContainerSummary::default()
        };
        let all =
            || vec![running("1", "a"), running("2", "a"), running("3", "b"), running("4", "c"), running("5", "d")];
        let asked =
            |teller: &Teller| -> Vec<String> { teller.candidates(all()).into_iter().map(|(id, _)| id).collect() };
        assert_eq!(asked(&Teller::default()), ["1", "3", "4"]);
        let teller = Teller { id: Some("4".into()), mute: BTreeSet::from(["a".into()]), ..Teller::default() };
        assert_eq!(asked(&teller), ["4", "3", "5"]);
    }
}
