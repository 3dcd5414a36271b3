use std::process::Command;

use tempfile::TempDir;

use super::{super::*, *};

const STACK: &str =
    "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {name: shop}\nspec: {provider: opsworks, region: eu-west-1}\n";

/// A repository made by git itself, with room for its copy.
struct Upstream {
    dir: TempDir,
}

impl Upstream {
    fn new() -> Upstream {
        let upstream = Upstream { dir: TempDir::new().unwrap() };
        fs::create_dir(upstream.path()).unwrap();
        upstream.git(&["init", "--quiet", "--initial-branch=main"]);
        upstream
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ops")
    }

    fn git(&self, args: &[&str]) {
        let identity = ["-c", "user.name=Ops", "-c", "user.email=ops@example.com", "-c", "commit.gpgsign=false"];
        let done = Command::new("git").arg("-C").arg(self.path()).args(identity).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn commit(&self, file: &str, text: &str, message: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    fn source(&self, branch: Option<&str>, path: Option<&str>) -> Source {
        let url = format!("file://{}", self.path().display());
        Source::parse(&url, branch, path, self.dir.path().join("cache"))
            .unwrap()
            .with_poll_interval(Duration::from_secs(1))
    }
}

fn named(name: &str) -> String {
    STACK.replace("shop", name)
}

fn names(revision: &Revision) -> Vec<&str> {
    revision.manifests.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_new_commit_is_a_new_revision() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "The shop\n\nat last");
    let mut source = upstream.source(None, None);
    let first = source.load().await.unwrap();
    assert_eq!((names(&first), first.subject.as_deref(), first.id.len()), (vec!["shop"], Some("The shop"), 12));
    assert!(timeout(Duration::from_millis(1500), source.changed()).await.is_err());

    upstream.commit("blog.yml", &named("blog"), "A blog");
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    let second = source.load().await.unwrap();
    assert_eq!(names(&second), ["blog", "shop"]);
    assert_ne!(first.id, second.id);
}

#[tokio::test]
async fn an_invalid_commit_is_refused_once_and_the_next_good_one_is_taken() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "good");
    let mut source = upstream.source(None, None);
    let good = source.load().await.unwrap();

    upstream.commit("shop.yaml", &STACK.replace("region", "regio"), "bad");
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    match source.load().await.unwrap_err() {
        SourceError::Invalid { revision, problems } => {
            assert_ne!(revision, good.id);
            assert_eq!(problems[0].file.name, "shop.yaml");
        }
        other => panic!("{other}"),
    }
    assert!(timeout(Duration::from_millis(1500), source.changed()).await.is_err());

    upstream.git(&["revert", "--no-edit", "HEAD"]);
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    assert_eq!(source.load().await.unwrap().manifests["shop"].stack, good.manifests["shop"].stack);
}

#[tokio::test]
async fn a_branch_and_a_path_are_followed() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "main");
    upstream.git(&["checkout", "--quiet", "-b", "staging"]);
    upstream.commit("envs/staging/a/blog.yaml", &named("blog"), "staging");
    upstream.commit("envs/staging-old/x.yaml", "broken: [", "old");
    upstream.git(&["checkout", "--quiet", "main"]);
    let mut source = upstream.source(Some("staging"), Some("envs/staging/"));
    assert_eq!(names(&source.load().await.unwrap()), ["blog"]);
    let mut source = upstream.source(Some("staging"), Some("shop.yaml"));
    assert_eq!(names(&source.load().await.unwrap()), ["shop"]);
    let error = upstream.source(Some("nowhere"), None).load().await.unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let error = upstream.source(None, Some("nothing")).load().await.unwrap_err();
    assert!(error.to_string().contains("no manifests"), "{error}");
}

#[tokio::test]
async fn a_forced_push_is_followed() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "one");
    upstream.commit("shop.yaml", &named("two"), "two");
    let mut source = upstream.source(None, None);
    assert_eq!(names(&source.load().await.unwrap()), ["two"]);
    upstream.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    upstream.commit("shop.yaml", &named("three"), "three");
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    assert_eq!(names(&source.load().await.unwrap()), ["three"]);
}

#[tokio::test]
async fn a_repository_that_is_gone_is_unavailable_until_it_is_back() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "one");
    let mut source = upstream.source(None, None);
    let first = source.load().await.unwrap();
    let away = upstream.dir.path().join("away");
    fs::rename(upstream.path(), &away).unwrap();
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    assert!(matches!(source.load().await.unwrap_err(), SourceError::Unavailable { .. }));
    fs::rename(&away, upstream.path()).unwrap();
    timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    assert_eq!(source.load().await.unwrap(), first);
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_copy_does_not_stop_it() {
    let upstream = Upstream::new();
    upstream.commit("shop.yaml", STACK, "one");
    upstream.source(None, None).load().await.unwrap();
    let copy = fs::read_dir(upstream.dir.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    fs::write(copy.join(format!("{HEAD}.lock")), "").unwrap();
    upstream.commit("shop.yaml", &named("two"), "two");
    assert_eq!(names(&upstream.source(None, None).load().await.unwrap()), ["two"]);
    fs::write(copy.join("HEAD"), "").unwrap();
    assert_eq!(names(&upstream.source(None, None).load().await.unwrap()), ["two"]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/ops.git", listener.local_addr().unwrap());
    let cache = TempDir::new().unwrap();
    let mut git = Git::new(&url, None, None, cache.path()).unwrap();
    git.limit = Duration::from_millis(300);
    assert!(git.load().await.unwrap_err().contains("no answer"));
    assert!(git.load().await.unwrap_err().contains("not ended yet"));
}
