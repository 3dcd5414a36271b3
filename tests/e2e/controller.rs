//! The program under test, as a process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use evenkeel::store::Store;
use serde_json::Value;

use super::ground::GROUND;

/// What a controller may have of its own.
const MEMORY_MB: f64 = 40.0;

/// The program. Another one can be named, where several checkouts share one build directory.
pub fn program() -> PathBuf {
    std::env::var_os("EVENKEEL_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_evenkeel").into(), PathBuf::from)
}

/// `evenkeel ARGUMENTS`, with the proving ground for an AWS.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).envs(&GROUND.env);
    command
}

/// The same; how it ended.
pub fn evenkeel(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap_or_else(|error| panic!("{}: {error}", program().display()))
}

/// What a finished command said, for messages.
pub fn words(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `evenkeel run`, until it is killed or dropped.
pub struct Controller {
    child: Child,
    state: PathBuf,
    log: PathBuf,
}

impl Controller {
    /// Starts it on a source, with its state in `dir` and more in its environment. Its log goes on where an earlier one's
    /// ended.
    pub fn start(source: &str, dir: &Path, options: &[&str], env: &[(&str, &str)]) -> Controller {
        let (state, log) = (dir.join("state"), dir.join("controller.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = command(&["run", "--source", source, "--git-poll", "1", "--state"]);
        command.arg(&state).args(options).envs(env.iter().copied()).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Controller { child: command.spawn().expect("the controller starts"), state, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Leaves the counts of its AWS calls for a comparison with the policies in `deploy/iam`.
    fn leave_calls(&self) {
        let output = evenkeel(&["status", "--json", "--state", self.state.to_str().unwrap()]);
        let Ok(seen) = serde_json::from_slice::<Value>(&output.stdout) else { return };
        if seen["calls"].is_object() {
            let dir = GROUND.state.join("test/calls");
            // A process id alone comes again within the time of a run.
            let state = self.state.to_string_lossy().replace('/', "-");
            let file = dir.join(format!("{}{state}.json", self.pid()));
            let _ = fs::create_dir_all(&dir).and_then(|()| fs::write(file, seen["calls"].to_string()));
        }
    }

    /// As the machine's end would: at once, without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        self.leave_calls();
        super::ground::run("kill", &["-TERM", &self.pid().to_string()]);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "told to stop, it has not ended\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Panics if it ever had more memory of its own than a controller needs.
    pub fn assert_small(&self) {
        let peak = self.peak_memory();
        assert!(peak < MEMORY_MB, "the controller had {peak:.1} MB");
        eprintln!("the controller's memory: {peak:.1} MB at most");
    }

    /// The most memory of its own that it ever had, in MB: without the pages of the program, of which there are many in a
    /// build for debugging, and which are the kernel's to drop.
    fn peak_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let megabytes = |key: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key} {status}"));
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        megabytes("VmHWM:") - megabytes("RssFile:")
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("the controller's log ends:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    /// One stack of what `evenkeel status --json` prints, read where that command reads it: the tests ask many times a
    /// second, and a process for each would take the machine from those that are looked at.
    pub fn status(&self, stack: &str) -> Option<Status> {
        let statuses = Store::open_existing(&self.state).ok()??.statuses().ok()?;
        let found = statuses.iter().find(|found| found.stack == stack)?;
        Some(Status(serde_json::to_value(found).expect("a status is JSON")))
    }

    /// Waits, bounded, until a stack's status is as it should be.
    pub async fn until(&mut self, stack: &str, what: &str, limit: u64, good: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status(stack);
            if let Some(status) = &status
                && good(status)
            {
                return status.clone();
            }
            if let Some(ended) = self.child.try_wait().unwrap() {
                panic!("the controller ended ({ended}) before stack {stack} was {what}\n{}", self.tail());
            }
            if began.elapsed() > Duration::from_secs(limit) {
                let status = status.map_or("no status".to_owned(), |status| format!("{:#}", status.0));
                panic!("after {limit}s stack {stack} is not {what}: {status}\n{}", self.tail());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits, bounded each time, until so many more passes over a stack have ended: every one tells anew when it was so.
    pub async fn passes(&mut self, stack: &str, count: usize, limit: u64) {
        let mut last = self.status(stack).map(|status| status.0["at"].clone());
        for _ in 0..count {
            let status = self.until(stack, "looked at again", limit, |status| Some(&status.0["at"]) != last.as_ref());
            last = Some(status.await.0["at"].clone());
        }
    }

    /// Waits until the stack is as declared in this revision.
    pub async fn until_converged(&mut self, stack: &str, revision: &str, limit: u64) -> Status {
        let what = format!("converged on revision {revision}");
        self.until(stack, &what, limit, |status| status.phase() == "Converged" && status.revision() == revision).await
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.leave_calls();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// One stack of `evenkeel status --json`.
#[derive(Debug, Clone)]
pub struct Status(pub Value);

impl Status {
    pub fn phase(&self) -> &str {
        self.0["phase"].as_str().unwrap_or("")
    }

    pub fn revision(&self) -> &str {
        self.0["revision"].as_str().unwrap_or("")
    }

    /// The messages of the conditions of one kind, each after its subject.
    pub fn conditions(&self, kind: &str) -> Vec<String> {
        let all = self.0["conditions"].as_array().into_iter().flatten();
        all.filter(|condition| condition["kind"] == kind)
            .map(|condition| {
                format!("{}: {}", condition["subject"].as_str().unwrap(), condition["message"].as_str().unwrap())
            })
            .collect()
    }

    pub fn all_conditions(&self) -> Vec<String> {
        let all = self.0["conditions"].as_array().into_iter().flatten();
        all.map(ToString::to_string).collect()
    }
}
