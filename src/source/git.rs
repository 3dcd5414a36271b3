//! A git repository that is polled. Manifests are read from the commit's tree; there is no work tree.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gix::{ObjectId, bstr::ByteSlice, progress::Discard, remote::Direction};
use sha2::{Digest, Sha256};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use super::{POLL_INTERVAL, Snapshot, is_manifest};
use crate::spec::File;

/// How long a repository may take to name its newest commit.
const PEEK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(110);
/// Every fetch leaves a pack; with more than this the copy is made anew.
const MAX_PACKS: usize = 100;
/// Where the copy keeps the commit that was fetched last.
const HEAD: &str = "refs/evenkeel/head";

#[derive(Debug)]
pub(super) struct Git {
    remote: Arc<Remote>,
    pub(super) interval: Duration,
    limit: Duration,
    loaded: Option<ObjectId>,
    failed: bool,
    next_poll: Option<Instant>,
    peek: Option<Job<Result<ObjectId, String>>>,
    fetch: Option<Job<Result<(ObjectId, Snapshot), String>>>,
}

impl Git {
    pub(super) fn new(url: &str, branch: Option<&str>, path: Option<&str>, cache_dir: &Path) -> Result<Git, String> {
        let parsed = gix::url::parse(url).map_err(|error| format!("{url} is not a git URL: {error}"))?;
        let branch = branch.map(|branch| branch.trim_start_matches("refs/heads/").to_owned());
        if let Some(branch) = &branch {
            gix::validate::reference::name(format!("refs/heads/{branch}").as_str().into())
                .map_err(|error| format!("{branch} is not a branch's name: {error}"))?;
        }
        let hash = Sha256::digest(url.as_bytes());
        let copy = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        let remote = Remote {
            url: parsed,
            branch,
            path: path.unwrap_or_default().trim_matches('/').trim_start_matches("./").to_owned(),
            copy: cache_dir.join(format!("{copy}.git")),
        };
        Ok(Git {
            remote: Arc::new(remote),
            interval: POLL_INTERVAL,
            limit: FETCH_TIMEOUT,
            loaded: None,
            failed: false,
            next_poll: None,
            peek: None,
            fetch: None,
        })
    }

    pub(super) async fn load(&mut self) -> Result<Snapshot, String> {
        let fetched = self.fetched().await;
        self.next_poll = Some(Instant::now() + self.interval);
        self.failed = fetched.is_err();
        let (commit, snapshot) =
            fetched.map_err(|problem| format!("cannot fetch {self}: {}", self.remote.without_password(&problem)))?;
        self.loaded = Some(commit);
        Ok(snapshot)
    }

    async fn fetched(&mut self) -> Result<(ObjectId, Snapshot), String> {
        if self.fetch.as_mut().is_some_and(|job| job.is_running()) {
            return Err("the last fetch has not ended yet".to_owned());
        }
        let remote = Arc::clone(&self.remote);
        let job = self.fetch.insert(Job::start(move |interrupt| remote.fetch(interrupt)));
        let answer = timeout(self.limit, &mut job.result).await;
        match answer {
            Ok(Ok(fetched)) => {
                self.fetch = None;
                fetched
            }
            Ok(Err(_)) => {
                self.fetch = None;
                Err("the fetch broke off".to_owned())
            }
            Err(_) => {
                job.interrupt.store(true, Ordering::Relaxed);
                Err(format!("no answer within {} s", self.limit.as_secs()))
            }
        }
    }

    pub(super) async fn changed(&mut self) {
        loop {
            if let Some(at) = self.next_poll {
                sleep_until(at).await;
            }
            if self.failed || self.loaded.is_none() {
                return;
            }
            let remote = Arc::clone(&self.remote);
            let job = self.peek.get_or_insert_with(|| Job::start(move |_| remote.newest()));
            let newest = timeout(PEEK_TIMEOUT.min(self.limit), &mut job.result).await;
            self.peek = None;
            self.next_poll = Some(Instant::now() + self.interval);
            match newest {
                Ok(Ok(Ok(commit))) if Some(commit) == self.loaded => {}
                _ => {
                    self.next_poll = None;
                    return;
                }
            }
        }
    }
}

impl fmt::Display for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(&self.remote.url))?;
        if let Some(branch) = &self.remote.branch {
            write!(f, " (branch {branch})")?;
        }
        Ok(())
    }
}

/// The URL without its password.
fn shown(url: &gix::Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        url.set_password(Some("…".to_owned()));
    }
    url.to_bstring().to_string().replace("%E2%80%A6", "…")
}

/// Work on a thread of its own: gix blocks, and a peer that never answers must not keep the process from ending.
#[derive(Debug)]
struct Job<T> {
    result: oneshot::Receiver<T>,
    interrupt: Arc<AtomicBool>,
}

impl<T: Send + 'static> Job<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Job<T> {
        let (send, result) = oneshot::channel();
        let interrupt = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupt);
        std::thread::spawn(move || {
            let _ = send.send(work(&flag));
        });
        Job { result, interrupt }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.result.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.interrupt.store(true, Ordering::Relaxed);
    }
}

struct Remote {
    url: gix::Url,
    branch: Option<String>,
    path: String,
    copy: PathBuf,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", shown(&self.url))
    }
}

/// Why a fetch failed.
enum Failure {
    /// The other side, or what lies between.
    Remote(String),
    /// The copy on this side: making it anew may help.
    Copy(String),
}

impl Remote {
    /// Asks the repository for its newest commit; nothing is fetched.
    fn newest(&self) -> Result<ObjectId, String> {
        let repository = self.open()?;
        let remote = self.remote(&repository)?;
        let connection = remote.connect(Direction::Fetch).map_err(|error| chain(&error))?;
        let (map, _) = connection.ref_map(Discard, Default::default()).map_err(|error| chain(&error))?;
        self.tip(&map)
    }

    fn fetch(&self, interrupt: &AtomicBool) -> Result<(ObjectId, Snapshot), String> {
        if self.packs() > MAX_PACKS {
            self.forget();
        }
        match self.try_fetch(interrupt) {
            Ok(fetched) => Ok(fetched),
            Err(Failure::Remote(problem)) => Err(problem),
            Err(Failure::Copy(problem)) if interrupt.load(Ordering::Relaxed) => Err(problem),
            Err(Failure::Copy(_)) => {
                // A lock or half a pack that a killed process has left behind.
                self.forget();
                self.try_fetch(interrupt).map_err(|(Failure::Remote(problem) | Failure::Copy(problem))| problem)
            }
        }
    }

    fn try_fetch(&self, interrupt: &AtomicBool) -> Result<(ObjectId, Snapshot), Failure> {
        let repository = self.open().map_err(Failure::Copy)?;
        let remote = self.remote(&repository).map_err(Failure::Remote)?;
        let connection = remote.connect(Direction::Fetch).map_err(|error| Failure::Remote(chain(&error)))?;
        let prepared =
            connection.prepare_fetch(Discard, Default::default()).map_err(|error| Failure::Remote(chain(&error)))?;
        let commit = self.tip(prepared.ref_map()).map_err(Failure::Remote)?;
        prepared.receive(Discard, interrupt).map_err(|error| Failure::Copy(chain(&error)))?;
        // A copy opened before the fetch may not see what it brought.
        let repository = self.open().map_err(Failure::Copy)?;
        let snapshot = self.snapshot(&repository, commit)?;
        Ok((commit, snapshot))
    }

    fn open(&self) -> Result<gix::Repository, String> {
        let options = || {
            gix::open::Options::default()
                .with(gix::sec::Trust::Full)
                .config_overrides(["gitoxide.credentials.terminalPrompt=false", "gitoxide.http.connectTimeout=10000"])
        };
        if self.copy.join("HEAD").exists() {
            match gix::ThreadSafeRepository::open_opts(&self.copy, options().open_path_as_is(true)) {
                Ok(repository) => return Ok(repository.to_thread_local()),
                Err(_) => self.forget(),
            }
        }
        fs::create_dir_all(&self.copy).map_err(|error| format!("cannot create {}: {error}", self.copy.display()))?;
        gix::ThreadSafeRepository::init_opts(&self.copy, gix::create::Kind::Bare, Default::default(), options())
            .map(|repository| repository.to_thread_local())
            .map_err(|error| chain(&error))
    }

    fn remote<'r>(&self, repository: &'r gix::Repository) -> Result<gix::Remote<'r>, String> {
        let from = self.branch.as_ref().map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let spec = format!("+{from}:{HEAD}");
        repository
            .remote_at(self.url.clone())
            .and_then(|remote| remote.with_refspecs([spec.as_str()], Direction::Fetch))
            .map(|remote| remote.with_fetch_tags(gix::remote::fetch::Tags::None))
            .map_err(|error| chain(&error))
    }

    fn tip(&self, map: &gix::remote::fetch::RefMap) -> Result<ObjectId, String> {
        let tip = map.mappings.first().and_then(|mapping| mapping.remote.as_id());
        match (tip, &self.branch) {
            (Some(tip), _) => Ok(tip.to_owned()),
            (None, Some(branch)) => Err(format!("it has no branch {branch}")),
            (None, None) => Err("it has no commits yet".to_owned()),
        }
    }

    /// Every manifest below the path, as the commit has it.
    fn snapshot(&self, repository: &gix::Repository, commit: ObjectId) -> Result<Snapshot, Failure> {
        let copy = |error: gix::Error| Failure::Copy(chain(&error));
        let commit = repository.find_commit(commit).map_err(copy)?;
        let id = commit.id.to_hex_with_len(12).to_string();
        let subject = commit.message_raw_sloppy().lines().next().map(|line| line.to_str_lossy().trim().to_owned());
        let entries = commit.tree().map_err(copy)?.traverse().breadthfirst.files().map_err(copy)?;
        let mut files = Vec::new();
        for entry in entries {
            let name = entry.filepath.to_str_lossy().into_owned();
            let below = match name.strip_prefix(&self.path) {
                Some("") => name.rsplit('/').next().unwrap_or_default(),
                Some(below) if self.path.is_empty() => below,
                Some(below) => match below.strip_prefix('/') {
                    Some(below) => below,
                    None => continue,
                },
                None => continue,
            };
            if entry.mode.is_blob() && (is_manifest(below) || name == self.path) {
                let blob = repository.find_blob(entry.oid).map_err(copy)?;
                files.push(File::new(name, blob.data.clone()));
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Snapshot { id, subject: subject.filter(|subject| !subject.is_empty()), files })
    }

    fn without_password(&self, text: &str) -> String {
        match self.url.password() {
            Some(password) if !password.is_empty() => text.replace(password, "…"),
            _ => text.to_owned(),
        }
    }

    fn packs(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.copy.join("objects/pack")) else { return 0 };
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ext| ext == "pack")).count()
    }

    fn forget(&self) {
        let _ = fs::remove_dir_all(&self.copy);
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests;
