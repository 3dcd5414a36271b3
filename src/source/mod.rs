//! Where manifests come from: a directory that is watched, or a git repository that is polled.
//!
//! A revision is taken whole or refused whole: one problem in one file, and the caller goes on with the last
//! revision that was good.

mod directory;
mod git;

use std::{fmt, path::PathBuf, time::Duration};

use directory::Directory;
use git::Git;

use crate::spec::{File, Manifests, Problem, validate};

/// How often a git repository is asked for its newest commit, unless told otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// No repository is asked more often than this.
pub const SHORTEST_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A place that manifests are read from, again and again.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Directory(Directory),
    Git(Box<Git>),
}

/// What one good state of the source declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The first 12 digits of the commit, or `dir-` and 12 digits of the content's hash. The same content has the
    /// same id.
    pub id: String,
    /// The first line of the commit's message.
    pub subject: Option<String>,
    /// The stacks with their apps.
    pub manifests: Manifests,
}

/// Why there is no revision. In both cases the last good one stays valid.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The state was read, and is refused whole.
    #[error("revision {revision} is refused: {}", summary(problems))]
    Invalid {
        /// The refused state's id.
        revision: String,
        /// Everything that is wrong with it; never empty.
        problems: Vec<Problem>,
    },
    /// The source could not be read.
    #[error("{message}")]
    Unavailable {
        /// What happened, where, and what to do.
        message: String,
    },
}

fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => "no reason given".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    }
}

/// A state of the source before it is decoded.
#[derive(Debug)]
struct Snapshot {
    id: String,
    subject: Option<String>,
    files: Vec<File>,
}

impl Snapshot {
    fn into_revision(self, whence: &str) -> Result<Revision, SourceError> {
        // Nothing at all is far more likely a wrong path or a bad mount than a wish.
        if self.files.is_empty() {
            let message = format!("{whence} holds no manifests: no *.yaml or *.yml file was found in it");
            return Err(SourceError::Unavailable { message });
        }
        match validate::load(&self.id, self.files) {
            Ok(manifests) => Ok(Revision { id: self.id, subject: self.subject, manifests }),
            Err(problems) => Err(SourceError::Invalid { revision: self.id, problems }),
        }
    }
}

impl Source {
    /// Takes a directory, a file, or a git URL: `https://…`, `ssh://…`, `git@host:path`, `file://…`, `git+…`, or
    /// anything that ends in `.git`. `branch` is the remote's default unless given; `path` leads to the manifests
    /// below the root. A bare copy of a repository is kept in `cache_dir`.
    ///
    /// # Errors
    /// What cannot be understood, for people. Nothing is read yet.
    pub fn parse(
        text: &str,
        branch: Option<&str>,
        path: Option<&str>,
        cache_dir: impl Into<PathBuf>,
    ) -> Result<Source, String> {
        if text.trim().is_empty() {
            return Err("the source is empty: give a directory or a git URL".to_owned());
        }
        if is_git(text) {
            let url = text.strip_prefix("git+").unwrap_or(text);
            let git = Git::new(url, branch, path, &cache_dir.into())?;
            return Ok(Source(Kind::Git(Box::new(git))));
        }
        if branch.is_some() {
            return Err(format!("{text} is a directory, which has no branch: for a repository write git+file://…"));
        }
        let root = PathBuf::from(text);
        Ok(Source(Kind::Directory(Directory::new(path.map_or(root.clone(), |path| root.join(path))))))
    }

    /// Sets how often a git repository is asked; a directory is watched anyway.
    pub fn with_poll_interval(mut self, interval: Duration) -> Source {
        if let Kind::Git(git) = &mut self.0 {
            git.interval = interval.max(SHORTEST_POLL_INTERVAL);
        }
        self
    }

    /// Reads the newest state.
    ///
    /// # Errors
    /// [`SourceError::Invalid`] when it is refused, [`SourceError::Unavailable`] when it cannot be read; the answer
    /// comes within two minutes in any case.
    pub async fn load(&mut self) -> Result<Revision, SourceError> {
        let whence = self.to_string();
        let snapshot = match &mut self.0 {
            Kind::Directory(directory) => directory.load().await,
            Kind::Git(git) => git.load().await,
        };
        snapshot.map_err(|message| SourceError::Unavailable { message })?.into_revision(&whence)
    }

    /// Waits until [`Source::load`] would tell something new, or something that failed may be tried again. It may
    /// be dropped and called again without losing anything.
    pub async fn changed(&mut self) {
        match &mut self.0 {
            Kind::Directory(directory) => directory.changed().await,
            Kind::Git(git) => git.changed().await,
        }
    }
}

/// Without the password that a URL may hold.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Directory(directory) => directory.fmt(f),
            Kind::Git(git) => git.fmt(f),
        }
    }
}

fn is_git(text: &str) -> bool {
    let scp = text.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    scp || text.starts_with("git+") || text.contains("://") || text.trim_end_matches('/').ends_with(".git")
}

/// A YAML file that is not hidden, nor in a hidden directory.
fn is_manifest(relative: &str) -> bool {
    let hidden = relative.split('/').any(|part| part.starts_with('.'));
    !hidden && (relative.ends_with(".yaml") || relative.ends_with(".yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in [
            "https://example.com/ops.git",
            "https://example.com/ops",
            "ssh://git@example.com/ops",
            "git@example.com:ops/shop",
            "file:///srv/ops",
            "git+file:///srv/ops",
            "/srv/ops.git",
        ] {
            assert!(is_git(url), "{url}");
        }
        for path in ["/srv/ops", "./ops", "ops", "shop.yaml", "C:/ops"] {
            assert!(!is_git(path), "{path}");
        }
    }

    #[test]
    fn hidden_files_and_other_files_are_no_manifests() {
        assert!(is_manifest("shop.yaml") && is_manifest("a/b.yml"));
        assert!(!is_manifest(".github/ci.yaml") && !is_manifest("a/.b.yml") && !is_manifest("README.md"));
    }

    #[test]
    fn a_branch_of_a_directory_is_refused() {
        assert!(Source::parse("/srv/ops", Some("main"), None, "/tmp").unwrap_err().contains("git+file"));
        assert!(Source::parse(" ", None, None, "/tmp").is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let source = Source::parse("https://user:secret@example.com/ops.git", Some("main"), None, "/tmp").unwrap();
        assert!(!source.to_string().contains("secret"));
        assert!(!format!("{source:?}").contains("secret"));
    }
}
