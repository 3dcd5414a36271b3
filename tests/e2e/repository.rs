//! A git repository of manifests, in a directory that a test has for itself; cleared away at the end.

use std::{fs, path::PathBuf};

use super::ground::run;

/// See the module.
pub struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    /// Without a commit.
    pub fn empty() -> Repository {
        let repository = Repository { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(repository.path()).unwrap();
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    /// The directory that it lies in.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("manifests")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let path = self.path();
        let who = ["-c", "user.name=Ops", "-c", "user.email=ops@example.com", "-c", "commit.gpgsign=false"];
        run("git", &[&["-C", path.to_str().unwrap()], &who[..], arguments].concat())
    }

    /// Commits the text under that name; the revision as Evenkeel calls it.
    pub fn commit(&self, name: &str, text: &str) -> String {
        fs::write(self.path().join(name), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "A change"]);
        self.git(&["rev-parse", "--short=12", "HEAD"]).trim().to_owned()
    }
}
