//! A directory, or a single file, that is watched.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::{sync::Notify, time::timeout};

use super::{Snapshot, is_manifest};
use crate::spec::File;

/// Editors write in several steps, within a few milliseconds: nothing must happen for this long before the files are read.
const QUIET: Duration = Duration::from_millis(100);
/// Some file systems tell nothing: the files are compared this often in any case.
const AT_LATEST: Duration = Duration::from_secs(10);
/// Deeper directories are not searched.
const MAX_DEPTH: usize = 16;

pub(super) struct Directory {
    path: PathBuf,
    /// The id of what was loaded last, or that nothing could be.
    loaded: Option<Result<String, ()>>,
    watch: Option<(RecommendedWatcher, Arc<Notify>)>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.path.display())
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Directory {
        Directory { path, loaded: None, watch: None }
    }

    pub(super) async fn load(&mut self) -> Result<Snapshot, String> {
        let snapshot = self.snapshot().await;
        self.loaded = Some(snapshot.as_ref().map(|snapshot| snapshot.id.clone()).map_err(|_| ()));
        snapshot
    }

    pub(super) async fn changed(&mut self) {
        if self.watch.is_none() {
            self.watch = watch(&self.path);
        }
        loop {
            let now = self.snapshot().await.map(|snapshot| snapshot.id).map_err(|_| ());
            if self.loaded.as_ref() != Some(&now) {
                return;
            }
            match &self.watch {
                Some((_, events)) => {
                    if timeout(AT_LATEST, events.notified()).await.is_ok() {
                        while timeout(QUIET, events.notified()).await.is_ok() {}
                    }
                }
                None => tokio::time::sleep(AT_LATEST).await,
            }
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || read(&path)).await {
            Ok(snapshot) => snapshot,
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

/// Watches a directory with all below it, or the directory that a file is in: editors replace files.
fn watch(path: &Path) -> Option<(RecommendedWatcher, Arc<Notify>)> {
    let events = Arc::new(Notify::new());
    let notify = Arc::clone(&events);
    let handle = move |event: notify::Result<notify::Event>| {
        // Reading is an event, too; an error may mean that events were lost.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            notify.notify_one();
        }
    };
    let started = notify::recommended_watcher(handle).and_then(|mut watcher| {
        let file = path.is_file();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match file {
            true => watcher.watch(parent, RecursiveMode::NonRecursive)?,
            false => watcher.watch(path, RecursiveMode::Recursive)?,
        }
        Ok(watcher)
    });
    match started {
        Ok(watcher) => Some((watcher, events)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot watch; the files are compared every 10 s instead");
            None
        }
    }
}

fn read(path: &Path) -> Result<Snapshot, String> {
    let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let mut found = Vec::new();
    if meta.is_dir() {
        search(path, "", 0, &mut found)?;
        found.sort();
    } else {
        found.push(String::new());
    }
    let mut hash = Sha256::new();
    let mut files = Vec::with_capacity(found.len());
    for relative in found {
        let full = if relative.is_empty() { path.to_owned() } else { path.join(&relative) };
        let bytes = fs::read(&full).map_err(|error| unreadable(&full, &error))?;
        for part in [relative.as_bytes(), &bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        files.push(File::new(full.display().to_string(), bytes));
    }
    let id = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(Snapshot { id: format!("dir-{id}"), subject: None, files })
}

/// Collects the manifests below a directory. A link to a file counts as the file; a link to a directory is left.
fn search(directory: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(directory, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth < MAX_DEPTH {
            search(&entry.path(), &format!("{prefix}{name}/"), depth + 1, found)?;
        } else if is_manifest(&name) && entry.path().is_file() {
            found.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("{path} does not exist"),
        _ => format!("cannot read {path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{super::*, *};

    const STACK: &str =
        "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {name: shop}\nspec: {provider: opsworks, region: eu-west-1}\n";

    fn source(path: &Path) -> Source {
        Source::parse(path.to_str().unwrap(), None, None, "unused").unwrap()
    }

    #[tokio::test]
    async fn all_manifests_below_are_read_and_the_same_content_has_the_same_id() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/shop.yml"), STACK).unwrap();
        fs::write(dir.path().join("a.yaml"), STACK.replace("shop", "blog")).unwrap();
        fs::write(dir.path().join("README.md"), "no manifest: {").unwrap();
        let mut source = source(dir.path());
        let first = source.load().await.unwrap();
        assert_eq!(first.manifests.keys().collect::<Vec<_>>(), ["blog", "shop"]);
        assert!(first.id.starts_with("dir-") && first.id.len() == 16, "{}", first.id);
        fs::write(dir.path().join("a.yaml"), STACK.replace("shop", "blog")).unwrap();
        assert_eq!(source.load().await.unwrap(), first);
        fs::rename(dir.path().join("a.yaml"), dir.path().join("c.yaml")).unwrap();
        assert_ne!(source.load().await.unwrap().id, first.id);
    }

    #[tokio::test]
    async fn a_change_is_noticed_and_reading_is_none() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("shop.yaml");
        fs::write(&file, STACK).unwrap();
        let mut source = source(&file);
        source.load().await.unwrap();
        assert!(timeout(Duration::from_millis(500), source.changed()).await.is_err());
        fs::write(dir.path().join("new"), STACK.replace("shop", "blog")).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        timeout(Duration::from_secs(5), source.changed()).await.unwrap();
        assert!(source.load().await.unwrap().manifests.contains_key("blog"));
    }

    #[tokio::test]
    async fn a_bad_state_is_refused_whole_with_its_places() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("a.yaml"), STACK).unwrap();
        fs::write(dir.path().join("b.yaml"), "kind: Stak\n").unwrap();
        match source(dir.path()).load().await.unwrap_err() {
            SourceError::Invalid { problems, .. } => {
                assert!(problems.iter().all(|problem| problem.file.name.ends_with("b.yaml")), "{problems:?}");
            }
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_away_or_empty_is_unavailable_until_it_is_back() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("ops");
        let mut source = source(&path);
        let error = source.load().await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Unavailable { message } if message.ends_with("does not exist")),
            "{error}"
        );
        fs::create_dir(&path).unwrap();
        assert!(source.load().await.unwrap_err().to_string().contains("holds no manifests"));
        fs::write(path.join("a.yaml"), STACK).unwrap();
        timeout(Duration::from_secs(5), source.changed()).await.unwrap();
        source.load().await.unwrap();
    }
}
