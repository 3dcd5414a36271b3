//! Releases are told of over real HTTP from a real store, by what the planner plans: the rest of the world is imagined.

mod receiver;
#[path = "../trial/mod.rs"]
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use evenkeel::{
    action::{Action, EngineAction, Lane, Node},
    apply::apply,
    messenger::{Messenger, signature},
    observe::{Picture, Ports},
    plan::Plan,
    ports::{Balancers, Cloud, Engines, Given, Login, Progress, Vault},
    secret::Secret,
    spec::Stack,
    status::Kind,
    store::Store,
    world::{Balancer, Engine, Provided, Seen, Trouble},
};
use jiff::Timestamp;
use receiver::Receiver;
use tokio::sync::mpsc;
use trial::{Broken, Trial};

const MANIFEST: &str = include_str!("../scenarios/manifests/notified.yaml");
const TOKEN: &str = "token-planted-1";
const SECRET: &str = "whsec-planted-1";

/// Nobody is asked for anything else.
struct Nobody;

#[async_trait]
impl Cloud for Nobody {
    async fn look(&self, _: &Stack) -> Provided {
        unreachable!("nobody looks")
    }

    async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }
}

#[async_trait]
impl Balancers for Nobody {
    async fn look(&self, _: &Stack, _: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        unreachable!("nobody looks")
    }

    async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }
}

#[async_trait]
impl Engines for Nobody {
    async fn look(&self, _: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
        unreachable!("nobody looks")
    }

    async fn digest(&self, _: &Node, _: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
        unreachable!("no registry is asked")
    }

    async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }

    async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
}

impl Vault for Nobody {}

/// A controller whose world is imagined, and whose store and messages are real.
struct Ground {
    trial: Trial,
    directory: tempfile::TempDir,
    store: Arc<Store>,
    /// What went wrong, and every plan, as they are shown.
    shown: Vec<String>,
}

impl Ground {
    fn new(hook: &str, rollbar: &str) -> Ground {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let manifest = MANIFEST
            .replace("https://ops.example.com/releases", hook)
            .replace("whsec-1", SECRET)
            .replace("accessToken: token-1", &format!("accessToken: {TOKEN}, url: \"{rollbar}\""));
        let mut trial = Trial::new(&manifest);
        trial.world.now = Timestamp::now();
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(directory.path()).expect("a store"));
        Ground { trial, directory, store, shown: Vec::new() }
    }

    fn ports(&self) -> Ports {
        let nobody = Arc::new(Nobody);
        Ports {
            cloud: nobody.clone(),
            balancers: nobody.clone(),
            engines: nobody.clone(),
            records: self.store.clone(),
            vault: nobody,
            herald: Arc::new(Messenger::new()),
        }
    }

    /// The controller is killed, and another one opens the store.
    fn kill(&mut self) {
        self.trial.crash();
        self.store = Arc::new(Store::open(self.directory.path()).expect("a store"));
    }

    fn plan(&mut self) -> Plan {
        let stack = &self.trial.desired.stack.name;
        let (told, outbox) = (self.store.told(stack).expect("told"), self.store.outbox(stack).expect("an outbox"));
        self.trial.receivers.recall(told, outbox);
        let plan = self.trial.plan();
        self.shown.push(format!("{plan:?} {}", serde_json::to_string(&plan).expect("JSON")));
        plan
    }

    async fn carry_out(&mut self, action: &Action) {
        if !matches!(action, Action::Announce { .. } | Action::Deliver { .. } | Action::EndDelivery { .. }) {
            self.trial.carry_out(action);
            return;
        }
        let ports = self.ports();
        let given = Picture::new(ports.clone()).given(&self.trial.desired, action).expect("all is declared");
        let stack = self.trial.desired.stack.clone();
        if let Err(trouble) = apply(&ports, &stack, action, &given, &(Arc::new(|_| ()) as _)).await {
            self.shown.push(trouble.message);
        }
    }

    /// One round; false when nothing more is to be done now.
    async fn round(&mut self) -> bool {
        let plan = self.plan();
        if plan.actions.is_empty() {
            return !plan.is_done() && self.trial.wait(&plan);
        }
        let mut lanes: BTreeSet<Lane> = BTreeSet::new();
        for action in plan.actions.iter().filter(|action| lanes.insert(action.lane())) {
            self.carry_out(action).await;
        }
        true
    }

    async fn converge(&mut self) {
        for _ in 0..500 {
            if !self.round().await {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// What the store holds, byte by byte.
    fn stored(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).expect("files").flatten();
        files.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).expect("read")).into_owned()).collect()
    }
}

fn hook(receiver: &Receiver) -> String {
    format!("http://{}/hook", receiver.address)
}

fn deploys(receiver: &Receiver) -> String {
    format!("http://{}/api/1/deploy/", receiver.address)
}

/// What a webhook was told, in order.
fn events(receiver: &Receiver) -> Vec<String> {
    let heard = receiver.heard().into_iter().filter(|heard| heard.path == "/hook");
    heard.map(|heard| heard.headers["evenkeel-event"].clone()).collect()
}

#[tokio::test]
async fn a_webhook_is_told_of_a_release_with_a_signature_that_its_secret_makes() {
    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&receiver));
    ground.converge().await;
    assert_eq!(events(&receiver), ["started", "done"]);
    for heard in receiver.heard().iter().filter(|heard| heard.path == "/hook") {
        let signed = &heard.headers["evenkeel-signature"];
        let seconds: i64 = signed[2..].split(',').next().expect("a time").parse().expect("seconds");
        assert!((Timestamp::now().as_second() - seconds).abs() < 60, "{signed}");
        assert_eq!(*signed, signature(&Secret::new(SECRET), seconds, &heard.body));
        let body: serde_json::Value = serde_json::from_str(&heard.body).expect("JSON");
        assert_eq!(body["id"], heard.headers["evenkeel-id"].as_str());
        assert_eq!(
            (&body["stack"], &body["app"], &body["container"]),
            (&"hello".into(), &"hello".into(), &"web".into())
        );
        assert_eq!(body["image"], "web:1");
        assert!(body["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{body}");
    }
}

#[tokio::test]
async fn rollbar_is_told_once_per_release_what_the_variables_of_the_container_say() {
    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&receiver));
    ground.converge().await;
    ground.kill();
    ground.converge().await;
    let deploys: Vec<_> = receiver.heard().into_iter().filter(|heard| heard.path == "/api/1/deploy/").collect();
    assert_eq!(deploys.len(), 1, "{deploys:?}");
    assert_eq!(deploys[0].headers["x-rollbar-access-token"], TOKEN);
    let body: serde_json::Value = serde_json::from_str(&deploys[0].body).expect("JSON");
    let expected = serde_json::json!({
        "access_token": TOKEN, "environment": "production", "revision": "abc123", "local_username": "hello",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_under_the_same_id_once_it_is_due_and_then_never_again() {
    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&Receiver::start()));
    receiver.answers(&["503 Service Unavailable\nbusy"; 50]);
    ground.converge().await;
    let told = ground.plan();
    let failed = told.conditions.iter().find(|it| it.kind == Kind::NotificationFailed).expect("a condition");
    assert!(failed.message.contains("503 Service Unavailable: busy"), "{}", failed.message);
    assert!(told.is_done(), "it holds up nothing: {told:?}");
    receiver.answers(&["", "307 Temporary Redirect"]);
    for _ in 0..4 {
        ground.trial.world.now += Duration::from_secs(3600);
        ground.kill();
        ground.converge().await;
    }
    assert!(ground.shown.iter().any(|it| it.contains("307 Temporary Redirect: {} (declare the URL")));
    let heard = receiver.heard().len();
    ground.trial.world.now += Duration::from_secs(3600);
    ground.converge().await;
    assert_eq!(receiver.heard().len(), heard, "what was taken is not sent again");
    let ids = |event: &str| -> Vec<String> {
        let of = receiver.heard().into_iter().filter(|heard| heard.headers["evenkeel-event"] == event);
        of.map(|heard| heard.headers["evenkeel-id"].clone()).collect()
    };
    let (started, done) = (ids("started"), ids("done"));
    assert!(started.len() + done.len() >= 5, "{started:?} {done:?}");
    assert_eq!(BTreeSet::from_iter(&started).len(), 1);
    assert_eq!(BTreeSet::from_iter(&done).len(), 1);
    assert_ne!(started[0], done[0]);
    assert!(ground.plan().conditions.iter().all(|it| it.kind != Kind::NotificationFailed));
}

#[tokio::test]
async fn a_controller_that_is_killed_at_any_moment_tells_each_event_once() {
    let calm = Receiver::start();
    let mut ground = Ground::new(&hook(&calm), &deploys(&calm));
    ground.converge().await;
    ground.trial.edit("web:1", "web:2");
    ground.converge().await;
    let expected = events(&calm);
    assert_eq!(expected, ["started", "done", "started", "done"]);

    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&receiver));
    for edited in [false, true] {
        if edited {
            ground.trial.edit("web:1", "web:2");
        }
        for _ in 0..2_000 {
            let plan = ground.plan();
            match plan.actions.first().cloned() {
                Some(action) => {
                    ground.carry_out(&action).await;
                    ground.kill();
                }
                None if plan.is_done() => break,
                None => drop(ground.trial.wait(&plan)),
            }
        }
    }
    assert_eq!(events(&receiver), expected);
    assert_eq!(receiver.heard().iter().filter(|heard| heard.path != "/hook").count(), 2);
}

#[tokio::test]
async fn one_that_arrived_and_was_not_struck_out_is_sent_again_under_the_same_id() {
    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&Receiver::start()));
    let delivery = loop {
        let plan = ground.plan();
        if let Some(action) = plan.actions.iter().find(|action| matches!(action, Action::Deliver { .. })) {
            break action.clone();
        }
        assert!(ground.round().await, "nothing is ever told");
    };
    // Sent, and killed before the answer was written down.
    let given = Picture::new(ground.ports()).given(&ground.trial.desired, &delivery).expect("declared");
    let Action::Deliver { delivery } = &delivery else { unreachable!() };
    let ports = ground.ports();
    ports.herald.tell(&ground.trial.desired.stack, delivery, &given.address.expect("an address")).await.expect("taken");
    ground.kill();
    ground.converge().await;
    let heard = receiver.heard();
    assert_eq!(heard[0].headers["evenkeel-id"], heard[1].headers["evenkeel-id"]);
    assert_eq!(events(&receiver), ["started", "started", "done"]);
}

#[tokio::test]
async fn a_release_that_fails_is_told_as_failed_and_as_rolled_back_and_rollbar_hears_nothing_of_it() {
    let receiver = Receiver::start();
    let mut ground = Ground::new(&hook(&receiver), &deploys(&receiver));
    ground.converge().await;
    ground.trial.broken.insert("web:2".into(), Broken::Unhealthy);
    ground.trial.edit("web:1", "web:2");
    ground.converge().await;
    assert_eq!(events(&receiver), ["started", "done", "started", "failed", "rolledBack"]);
    assert_eq!(receiver.heard().iter().filter(|heard| heard.path != "/hook").count(), 1);
    let failed = receiver.heard().into_iter().find(|it| it.body.contains(r#""event":"failed""#)).expect("told");
    assert!(failed.body.contains("503"), "{}", failed.body);
}

#[tokio::test]
async fn a_receiver_that_shows_a_certificate_that_nobody_signed_is_told_nothing() {
    let (receiver, rollbar) = (Receiver::with_tls(), Receiver::start());
    let url = format!("https://localhost:{}/hook", receiver.address.port());
    let mut ground = Ground::new(&url, &deploys(&rollbar));
    ground.converge().await;
    assert_eq!(receiver.heard().len(), 0);
    let conditions = ground.plan().conditions;
    let failed = conditions.iter().find(|it| it.kind == Kind::NotificationFailed).expect("a condition");
    assert!(failed.message.contains("certificate"), "{}", failed.message);
    assert_eq!(rollbar.heard().len(), 1, "the other one is told all the same");
}

#[tokio::test]
async fn neither_token_nor_secret_stands_in_a_plan_an_error_or_the_store() {
    let (receiver, rollbar) = (Receiver::start(), Receiver::start());
    // Whoever answers may repeat what it was told.
    let refusals = [format!("401 Unauthorized\nno such token: {TOKEN}"), format!("403 Forbidden\nnot by {SECRET}")];
    rollbar.answers(&[refusals[0].as_str(); 3]);
    receiver.answers(&[refusals[1].as_str(); 3]);
    let mut ground = Ground::new(&hook(&receiver), &deploys(&rollbar));
    ground.converge().await;
    let shown = ground.shown.join("\n") + &ground.stored();
    assert!(shown.contains("401 Unauthorized: no such token: ***"), "it was refused and that was told");
    assert!(shown.contains("403 Forbidden: not by ***"), "likewise");
    assert!(!shown.contains(TOKEN) && !shown.contains(SECRET));
}
