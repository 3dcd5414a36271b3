//! Where a stack stands, whoever runs its instances: what a test is written for that says the same of every provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use super::{
    controller::{self, Controller},
    ground::Instance,
    manifest::Manifest,
    repository::Repository,
};

/// See the module.
pub trait Place {
    /// The calls that take an instance out of its balancer, and put it back.
    const OUT: &'static str;
    const IN: &'static str;
    /// What every look asks.
    const ASKED: &'static [&'static str];
    /// Within how many seconds a new stack is as declared.
    const LIMIT: u64;

    fn name(&self) -> &str;

    fn region(&self) -> &str;

    fn files(&self) -> &Repository;

    /// What a program is told in its environment to reach the engines; nothing where that is what the proving ground says.
    fn env(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What is declared of the stack and of its app: of the app, the same to the letter everywhere.
    fn text(&self, manifest: &Manifest) -> String;

    /// The documented topology, with another release of the app.
    fn shop(&self, release: &str) -> String;

    /// The running instances, by hostname.
    fn instances(&self) -> BTreeMap<String, Instance>;

    /// The ids of everything that was made for the stack.
    fn made(&self) -> BTreeSet<String>;

    /// The balancer, as the proving ground sees it.
    fn balancer(&self) -> Value;

    /// The EC2 ids that the balancer sends requests to.
    fn in_service(&self) -> Vec<String>;

    /// Somebody takes the instance out of the balancer.
    fn take_out(&self, instance: &Instance);

    /// Instances with one web server each.
    fn manifest(&self, count: u32) -> Manifest {
        Manifest::new(self.name(), self.region(), count)
    }

    fn dir(&self) -> PathBuf {
        self.files().dir()
    }

    fn repository(&self) -> PathBuf {
        self.files().path()
    }

    /// Where the controller remembers.
    fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// Commits the text as the stack's manifest; the revision as Evenkeel calls it.
    fn commit(&self, text: &str) -> String {
        self.commit_file("stack.yaml", text)
    }

    fn commit_file(&self, name: &str, text: &str) -> String {
        self.files().commit(name, text)
    }

    /// `evenkeel run` on the repository.
    fn start(&self, options: &[&str]) -> Controller {
        self.start_with(options, &[])
    }

    /// The same, with more in its environment.
    fn start_with(&self, options: &[&str], env: &[(&str, &str)]) -> Controller {
        self.start_on(&format!("git+file://{}", self.repository().display()), options, env)
    }

    /// The same, on another source.
    fn start_on(&self, source: &str, options: &[&str], env: &[(&str, &str)]) -> Controller {
        let own = self.env();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        Controller::start(source, &self.dir(), options, &own.chain(env.iter().copied()).collect::<Vec<_>>())
    }

    /// `evenkeel ARGUMENTS`.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = controller::command(arguments);
        command.envs(self.env());
        command
    }

    /// The same, with the state of the stack's controller; how it ended.
    fn evenkeel(&self, arguments: &[&str]) -> Output {
        let state = self.state();
        let arguments = [arguments, &["--state", state.to_str().unwrap()]].concat();
        self.command(&arguments).output().unwrap_or_else(|error| panic!("evenkeel {arguments:?}: {error}"))
    }

    fn instance(&self, hostname: &str) -> Instance {
        let mut all = self.instances();
        all.remove(hostname).unwrap_or_else(|| panic!("no instance {hostname}, but {:?}", all.keys()))
    }

    /// Where the balancer listens.
    fn address(&self) -> String {
        format!("{}:80", self.balancer()["address"].as_str().unwrap())
    }

    fn assert_in_service(&self, count: usize) {
        assert_eq!(self.in_service().len(), count, "{:#}", self.balancer());
    }
}
