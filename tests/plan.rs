//! Scenarios with their golden plans: every `tests/scenarios/*.scenario` is a script, and what it prints is beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test plan` writes the golden files anew; read the difference before you keep it.
//!
//! The words of a script: `given NAME` (a manifest; the world has its load balancers and nothing else) · `edit A => B`
//! (a new revision) · `converge` (prints what is done; `converge quietly`
//! does not) · `until TEXT` (up to and with the first action that
//! begins so) · `broken IMAGE HOW` ·
//! `mend IMAGE` · `joined BALANCER` (one more for every layer) · `crash` (the controller forgets everything) · `unknown NAME` / `strange HOST` (its engine shows another identity) / `known NAME` (an engine or a balancer)
//! · `container HOST/NAME STATE` · `connected HOST/NAME NUMBER` · `foreign HOST/NAME` · `network HOST/NAME [gone]` (one that is not ours) · `target BALANCER HOST STATE` · `instance HOST STATUS` · `pass SECONDS`
//! · `refuse ACTION => WHY` · `round` · on EC2: `terminated HOST`, `missed HOST` / `told HOST` (reads miss it, and tell of it again), `lost ACTION` (it is done, and its answer
//! never comes), `impaired HOST`, `tagged HOST KEY=VALUE` (by hand), `bootstrap HOST SAID`, `detached HOST DEVICE`, `volume HOST STATE`, `free SUBNET NUMBER`, `gone SUBNET`, `image ID MESSAGE`, `vpc BALANCER ID`
//! · `cloud unknown` · `sent KEY` (the intent of a create is on record)
//! · `busy HOST` (something was begun there and does not show yet), `idle`
//! · `tag IMAGE => LETTER` (its digest in the registry), `tag IMAGE down WHY`, `tag IMAGE refused WHY`, `loaded HOST
//! IMAGE` (an image of that tag, brought by hand), `store lost`
//! · `ask WORD APP[/CONTAINER]` (deploy, rollback, pause or resume, as an operator asks for it)
//! · `secret REFERENCE => VALUE` (what is kept there now), `secret REFERENCE => refused WHY`, `secret REFERENCE => unread`
//! · `registered DATABASE USER` (OpsWorks knows it, and who signs in there), `missing DATABASE` (and RDS does not)
//! · `disk HOST TOTAL FREE` (in GiB), `disk HOST untold` (no container tells), `size IMAGE SIZE`, `stored HOST NAME SIZE` (an image
//! that somebody else has brought), `named HOST IMAGE NAME` (somebody gives it a name of their own), `images` (every image that takes room, and what is free)
//! · `runs IMAGE SECONDS [CODE]` (how long the runs of a job take, and how they end) · `jobs` (how each stands)
//! · `deaf ANSWER` (nobody takes what is told of releases), `deaf no more`
//! · `load HOST cpu PERCENT [memory PERCENT] [load NUMBER]` (what an instance has to do, `*` for all others; `none` for
//! nothing known), `point HOST PERCENT SECONDS` (what CloudWatch tells of its processors, and how old that is now; `none`
//! for no point, `refused WHY`), `scaling` (how many instances there are to be, and why), `opsworks scales` (its own
//! load-based scaling was switched on), `until-time TIME`
//! · `plan` (what is done and waited for now) · `forecast` (every step to the end) · `strategies` (which way what
//! is replaced goes, and why) · `containers`.

#[path = "sim/crowd.rs"]
mod crowd;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use evenkeel::{
    action::{Action, EngineAction, Lane},
    plan::{Intent, forecast::forecast},
    secret::Secret,
    spec::{Reference, image},
    world::{
        Class, ContainerSeen, Disk, Figures, Health, ImageSeen, NetworkSeen, OwDatabase, Seen, State, Target, Trouble,
    },
};
use trial::{Broken, Trial, first_digest};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn scripts() -> Vec<PathBuf> {
    let mut scripts: Vec<_> = fs::read_dir(dir())
        .expect("scenarios")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "scenario"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

#[test]
fn every_scenario_goes_as_its_golden_file_says() {
    let dir = dir();
    let mut wrong = Vec::new();
    for path in scripts() {
        let script = fs::read_to_string(&path).expect("a script");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let said = std::panic::catch_unwind(|| play(&dir, &script)).unwrap_or_else(|_| format!("{name} panicked\n"));
        let golden = path.with_extension("golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).expect("written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("— {name}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "not as the golden files say:\n{}", wrong.join("\n"));
}

/// So many rounds may pass until nothing more happens; what keeps ending goes on for ever.
const ROUNDS: usize = 400;

/// How it all ends if nothing is done to it any more; nothing where it never does.
fn end(mut trial: Trial) -> Option<Vec<String>> {
    trial.run(ROUNDS)?;
    let mut end = trial.containers();
    let instances = trial.world.seen.provided.instances.known().into_iter().flatten();
    let hosts: BTreeMap<String, String> =
        instances.clone().filter_map(|i| Some((i.ec2_id.clone()?, i.hostname.clone()))).collect();
    end.extend(instances.map(|instance| format!("{} {}", instance.hostname, instance.status)));
    for (name, balancer) in &trial.world.seen.balancers {
        for (id, target) in balancer.known().into_iter().flat_map(|balancer| &balancer.targets) {
            end.push(format!("{name}: {} {target:?}", hosts.get(id).unwrap_or(id)));
        }
    }
    end.extend(trial.images());
    end.extend(trial.receivers.heard.iter().map(|heard| format!("heard: {heard}")));
    end.sort();
    // Twice under one id is once.
    end.dedup();
    Some(end)
}

/// A scenario, stopped just before each of its actions, by the line of the script.
fn stops(script: &str) -> Vec<(usize, Vec<(Trial, Action)>)> {
    let mut trial: Option<Trial> = None;
    let mut all = Vec::new();
    for (number, line) in
        script.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
    {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "given" {
            let text = fs::read_to_string(dir().join("manifests").join(format!("{rest}.yaml"))).expect("a manifest");
            trial = Some(Trial::new(&text));
            continue;
        }
        let trial = trial.as_mut().expect("given NAME comes first");
        trial.log.clear();
        trial.stops = matches!(word, "converge" | "until" | "round").then(Vec::new);
        command(trial, word, rest, &mut String::new());
        if let Some(stops) = trial.stops.take().filter(|stops| !stops.is_empty()) {
            all.push((number + 1, stops));
        }
    }
    all
}

/// What the action started is over already: the same again, in the same breath, would have found it running.
fn has_ended(trial: &Trial, action: &Action) -> bool {
    let Action::Engine { node, what: EngineAction::Start { id, .. } } = action else { return false };
    let engine = trial.world.seen.engines.get(&node.hostname).and_then(Seen::known);
    let started = engine.and_then(|engine| engine.containers.values().find(|container| container.id == *id));
    started.is_some_and(|container| matches!(container.state, State::Exited { .. }))
}

/// The controller is killed once the action took effect and before it had an answer, or it is carried out twice: what
/// comes of it is the same.
#[test]
fn every_scenario_ends_the_same_with_a_crash_or_a_double_at_any_of_its_actions() {
    let scripts = scripts();
    let told = crowd::each(scripts.len(), |at| {
        let script = fs::read_to_string(&scripts[at]).expect("a script");
        let name = scripts[at].file_stem().expect("a name").to_string_lossy().into_owned();
        let (mut runs, mut wrong) = (0, Vec::new());
        for (line, stops) in stops(&script) {
            let Some(calm) = end(stops[0].0.clone()) else { continue };
            for (stop, action) in stops {
                for doubled in [false, true] {
                    let mut trial = stop.clone();
                    if trial.carry_out(&action) {
                        match doubled {
                            true if has_ended(&trial, &action) => {}
                            true => trial.world.carry_out(&action),
                            false => trial.crash(),
                        }
                    }
                    runs += 1;
                    let end = end(trial);
                    if end.as_ref() != Some(&calm) {
                        let what = if doubled { "doubled" } else { "crashed" };
                        let (end, calm) = (end.unwrap_or_default().join("\n"), calm.join("\n"));
                        wrong.push(format!("{name}, line {line}, {what} at “{action}”:\n{end}\nand not\n{calm}"));
                    }
                }
            }
        }
        (runs, wrong)
    });
    let runs: usize = told.iter().map(|(runs, _)| runs).sum();
    let wrong: Vec<&String> = told.iter().flat_map(|(_, wrong)| wrong).collect();
    println!("{runs} runs");
    assert!(runs > 4_000, "{runs} runs");
    assert!(wrong.is_empty(), "{} of {runs} ended otherwise; the first: {}", wrong.len(), wrong[0]);
}

fn play(dir: &Path, script: &str) -> String {
    let mut out = String::new();
    let mut trial: Option<Trial> = None;
    for line in script.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let _ = writeln!(out, "> {line}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "given" {
            let text = fs::read_to_string(dir.join("manifests").join(format!("{rest}.yaml"))).expect("a manifest");
            trial = Some(Trial::new(&text));
            continue;
        }
        let trial = trial.as_mut().expect("given NAME comes first");
        trial.log.clear();
        command(trial, word, rest, &mut out);
    }
    trial.map_or_else(String::new, |trial| without_first_digests(&trial, out))
}

/// What a tag stood for from the beginning need not be read on every line.
fn without_first_digests(trial: &Trial, mut out: String) -> String {
    for image in trial.world.seen.registry.keys() {
        let fixed = image::pinned(image, &first_digest(image));
        out = out.replace(&image::shown(&fixed), image).replace(&fixed, image);
    }
    out
}

fn command(trial: &mut Trial, word: &str, rest: &str, out: &mut String) {
    let words: Vec<&str> = rest.split(' ').collect();
    match word {
        "edit" => {
            let (from, to) = rest.split_once(" => ").expect("edit A => B");
            trial.edit(from, &to.replace("\\n", "\n"));
        }
        "ask" => {
            let (word, subject) = rest.split_once(' ').expect("ask WORD SUBJECT");
            for said in trial.ask(word, subject) {
                let _ = writeln!(out, "  {said}");
            }
        }
        "converge" => {
            let mut rounds = 0;
            while trial.round() {
                rounds += 1;
                let last = trial.log.last().cloned().unwrap_or_default();
                if trial.log.iter().filter(|line| **line == last).count() > 4 {
                    trial.log.push("and so on".into());
                    break;
                }
                assert!(rounds < 3000, "never comes to rest: {:#?}", trial.log);
            }
            if rest != "quietly" {
                for line in &trial.log {
                    let _ = writeln!(out, "  {line}");
                }
            }
            let plan = trial.plan();
            let _ = writeln!(out, "  {}", if plan.is_done() { "= nothing more to do" } else { "= not done" });
            told(&plan, out);
        }
        "until" => {
            'rounds: for round in 0.. {
                assert!(round < 3000, "never: {rest}");
                let plan = trial.plan();
                let mut lanes = BTreeSet::new();
                for action in &plan.actions {
                    if lanes.insert(action.lane()) {
                        trial.carry_out(action);
                        if action.key().starts_with(rest) {
                            break 'rounds;
                        }
                    }
                }
                if plan.actions.is_empty() {
                    assert!(trial.wait(&plan), "never: {rest}; {plan:?}");
                }
            }
        }
        "broken" => {
            let how = match words[1] {
                "unhealthy" => Broken::Unhealthy,
                "hangs" => Broken::Hangs,
                "restarts" => Broken::Restarts,
                "exits-after" => Broken::ExitsAfter(words[2].parse().expect("seconds")),
                "start-refused" => Broken::StartRefused,
                "create-refused" => Broken::CreateRefused,
                "migration-fails" => Broken::MigrationFails,
                "migration-hangs" => Broken::MigrationHangs,
                "pull-refused" => Broken::PullRefused,
                other => panic!("{other}?"),
            };
            trial.broken.insert(words[0].into(), how);
            trial.afflict();
        }
        "mend" => {
            trial.broken.remove(words[0]);
        }
        "joined" => trial.joined(rest),
        "cloud" => {
            let trouble = Trouble { class: Class::Transient, message: "OpsWorks does not answer".into() };
            let provided = &mut trial.world.seen.provided;
            if let Some(cloud) = provided.opsworks_mut() {
                cloud.stack = Seen::Unknown(trouble.clone());
                cloud.layers = Seen::Unknown(trouble.clone());
                cloud.apps = Seen::Unknown(trouble.clone());
                cloud.attached = Seen::Unknown(trouble.clone());
                cloud.databases = Seen::Unknown(trouble.clone());
            }
            provided.instances = Seen::Unknown(trouble);
        }
        "sent" => {
            let sent = Intent { sent: trial.world.now, token: None, place: None, resent: false };
            trial.facts.intents.insert(rest.into(), sent);
        }
        "crash" => trial.crash(),
        "busy" => {
            trial.facts.busy.insert(Lane::Node(rest.into()));
        }
        "idle" => trial.facts.busy.clear(),
        "unknown" => trial.silence(rest, Class::Transient, "does not answer"),
        "strange" => trial.silence(rest, Class::Terminal, "shows another host key"),
        "known" => {
            trial.unknown.remove(rest);
        }
        "container" => {
            if words[1] == "gone" {
                let (host, name) = words[0].split_once('/').expect("HOST/NAME");
                trial.engine(host).containers.remove(name);
                return;
            }
            let container = trial.container(words[0]);
            match words[1] {
                "exited" => container.state = State::Exited { exit_code: 1 },
                "restarting" => container.state = State::Restarting { exit_code: 1 },
                "dead" => container.state = State::Dead,
                "paused" => container.state = State::Paused,
                "unhealthy" => container.health = Some(Health::Unhealthy),
                "restarted" => container.restarts += 1,
                other => panic!("{other}?"),
            }
        }
        "connected" => {
            let (host, name) = words[0].split_once('/').expect("HOST/NAME");
            trial.engine(host).connections.insert(name.into(), words[1].parse().expect("a number"));
        }
        "network" => {
            let (host, name) = rest.split_once('/').expect("HOST/NAME");
            let (name, gone) = name.split_once(' ').map_or((name, false), |(name, _)| (name, true));
            if gone {
                trial.engine(host).networks.remove(name);
                return;
            }
            let network = NetworkSeen { id: format!("foreign-{name}"), ..NetworkSeen::default() };
            trial.engine(host).networks.insert(name.into(), network);
        }
        "foreign" => {
            let (host, name) = rest.split_once('/').expect("HOST/NAME");
            let container = ContainerSeen {
                id: format!("foreign-{name}"),
                labels: BTreeMap::new(),
                state: State::Running,
                image: "foreign".into(),
                image_id: "foreign".into(),
                restarts: 0,
                health: None,
                started_at: None,
                finished_at: None,
                says: BTreeMap::new(),
                secrets: BTreeMap::new(),
                last_words: None,
            };
            trial.engine(host).containers.insert(name.into(), container);
        }
        "target" => {
            let id = trial.instance(words[1]).ec2_id.clone().expect("an EC2 id");
            let targets = trial.targets(&words[0].replace('_', " "));
            match words[2] {
                "absent" => targets.remove(&id),
                "out" => targets.insert(id, Target::OutOfService("health check failed".into())),
                "in" => targets.insert(id, Target::InService),
                "draining" => targets.insert(id, Target::Draining),
                other => panic!("{other}?"),
            };
        }
        "instance" => trial.instance(words[0]).status = words[1].into(),
        "refuse" => {
            let (action, why) = rest.split_once(" => ").expect("refuse ACTION => WHY");
            trial.refused.insert(action.into(), why.into());
        }
        "round" => {
            trial.round();
            for line in &trial.log {
                let _ = writeln!(out, "  {line}");
            }
        }
        "terminated" => trial.instance(rest).status = "shutting-down".into(),
        "missed" => {
            trial.missed.insert(rest.into());
        }
        "told" => {
            trial.missed.remove(rest);
        }
        "lost" => trial.lose(rest),
        "impaired" => {
            let launched = trial.instance(rest).launched.as_mut().expect("on EC2");
            launched.impaired = Some("instance reachability failed".into());
        }
        "bootstrap" => {
            let (host, said) = rest.split_once(' ').expect("bootstrap HOST SAID");
            trial.instance(host).launched.as_mut().expect("on EC2").bootstrap = Some(said.into());
        }
        "tagged" => {
            let (key, value) = words[1].split_once('=').expect("tagged INSTANCE KEY=VALUE");
            let launched = trial.instance(words[0]).launched.as_mut().expect("on EC2");
            launched.tags.insert(key.into(), value.into());
        }
        "detached" => {
            let launched = trial.instance(words[0]).launched.as_mut().expect("on EC2");
            let id = launched.devices.remove(words[1]).expect("a volume");
            let volumes = trial.ec2().volumes.known_mut().expect("volumes");
            let volume = volumes.iter_mut().find(|volume| volume.id == id).expect("the volume");
            (volume.state, volume.attached_to) = ("available".into(), None);
        }
        "gone" => {
            trial.ec2().subnets.known_mut().expect("subnets").remove(rest);
        }
        "volume" => {
            for volume in trial.ec2().volumes.known_mut().expect("volumes") {
                if volume.hostname.as_deref() == Some(words[0]) {
                    volume.state = words[1].into();
                }
            }
        }
        "free" => {
            let subnets = trial.ec2().subnets.known_mut().expect("subnets");
            subnets.get_mut(words[0]).expect("a subnet").free = words[1].parse().expect("a number");
        }
        "image" => {
            let (image, message) = rest.split_once(' ').expect("image ID MESSAGE");
            let trouble = Trouble { class: Class::Terminal, message: message.into() };
            trial.ec2().images.insert(image.into(), Seen::Unknown(trouble));
        }
        "tag" => {
            let said = match words[1] {
                "=>" => Seen::Known(format!("sha256:{}", words[2].repeat(64))),
                how => {
                    let class = if how == "down" { Class::Transient } else { Class::Terminal };
                    Seen::Unknown(Trouble { class, message: words[2..].join(" ") })
                }
            };
            trial.world.seen.registry.insert(words[0].into(), said);
        }
        "secret" => {
            let (name, how) = rest.split_once(" => ").expect("REFERENCE => VALUE");
            let known: Vec<Reference> = trial.desired.references().into_iter().collect();
            let reference = known.into_iter().find(|it| it.to_string() == name).expect("a reference of the manifest");
            let value = match how.split_once(' ') {
                Some(("refused", why)) => Some(Seen::Unknown(Trouble { class: Class::Terminal, message: why.into() })),
                _ if how == "unread" => None,
                _ => Some(Seen::Known(Secret::new(how).seal())),
            };
            trial.world.seen.secrets.remove(&reference);
            trial.world.seen.secrets.extend(value.map(|value| (reference, value)));
        }
        "registered" | "missing" => {
            let cloud = trial.world.seen.provided.opsworks_mut().expect("OpsWorks");
            let databases = cloud.databases.known_mut().expect("databases");
            let arn = format!("arn:aws:rds:eu-west-1:123456789012:db:{}", words[0]);
            databases.retain(|database| !database.arn.ends_with(&format!(":{}", words[0])));
            let username = words.get(1).map(|user| (*user).to_owned());
            databases.push(OwDatabase { arn, username, missing: word == "missing" });
        }
        "loaded" => {
            let id = format!("(image id of {})", words[1]);
            trial.engine(words[0]).images.insert(words[1].into(), id);
        }
        "store" => {
            trial.crash();
            trial.intents.clear();
            trial.releases.clear();
            trial.operator.forget_history();
            trial.migrated.clear();
            trial.jobs = evenkeel::plan::Jobs::default();
            trial.scaled.clear();
            trial.receivers.lose();
        }
        "deaf" => trial.receivers.deaf = (rest != "no more").then(|| rest.to_owned()),
        "disk" if words[1] == "untold" => drop(trial.untold.insert(words[0].into())),
        "disk" => {
            let disk = Disk { total: gib(words[1]), free: gib(words[2]) };
            trial.untold.remove(words[0]);
            trial.engine(words[0]).disk = Some(disk);
        }
        "size" => drop(trial.world.sizes.insert(words[0].into(), gib(words[1]))),
        "stored" => {
            let image = ImageSeen { names: BTreeSet::from([words[1].into()]), size: gib(words[2]) };
            trial.engine(words[0]).stored.insert(format!("foreign-{}", words[1]), image);
        }
        "named" => {
            let name = image::familiar(&image::pinned(words[1], &first_digest(words[1])));
            let stored = trial.engine(words[0]).stored.values_mut().find(|image| image.names.contains(&name));
            stored.expect("an image").names.insert(words[2].into());
        }
        "images" => {
            for line in trial.images() {
                let _ = writeln!(out, "  {line}");
            }
        }
        "vpc" => {
            let balancer = trial.world.seen.balancers.get_mut(&words[0].replace('_', " "));
            balancer.and_then(Seen::known_mut).expect("a balancer").vpc_id = Some(words[1].into());
        }
        "load" => {
            let mut figures = Figures::default();
            for pair in words[1..].chunks(2).filter(|pair| pair.len() == 2) {
                let value = Some(pair[1].parse().expect("a number"));
                match pair[0] {
                    "cpu" => figures.cpu = value,
                    "memory" => figures.memory = value,
                    "load" => figures.load = value,
                    other => panic!("{other}?"),
                }
            }
            trial.load.insert(words[0].into(), figures);
            if words[1] == "none" {
                trial.load.remove(words[0]);
            }
        }
        "point" => {
            let now = trial.world.now;
            let point = match words[1] {
                "none" => Seen::Known(Figures { at: now, ..Figures::default() }),
                "refused" => Seen::Unknown(Trouble { class: Class::Terminal, message: words[2..].join(" ") }),
                cpu => {
                    let ago = Duration::from_secs(words[2].parse().expect("seconds"));
                    let cpu = Some(cpu.parse().expect("a number"));
                    Seen::Known(Figures { cpu, at: now - ago, ..Figures::default() })
                }
            };
            if words[0] == "*" {
                trial.points.clear();
            }
            trial.points.insert(words[0].into(), point);
        }
        "scaling" => {
            let plan = trial.plan();
            for scaling in &plan.scaling {
                let _ = writeln!(out, "  #  {scaling}");
            }
        }
        "opsworks" => {
            let cloud = trial.world.seen.provided.opsworks_mut().expect("on OpsWorks");
            let all = cloud.load_scaling.known_mut().expect("known");
            all.values_mut().for_each(|it| it.enabled = rest == "scales");
        }
        "until-time" => {
            let then = rest.parse().expect("a time");
            assert!(trial.world.now <= then, "it is {} already", trial.world.now);
            trial.world.now = then;
            trial.afflict();
        }
        "pass" => {
            trial.world.now += Duration::from_secs(rest.parse().expect("seconds"));
            trial.afflict();
        }
        "plan" => {
            let plan = trial.plan();
            for action in &plan.actions {
                let _ = writeln!(out, "  {action}");
            }
            told(&plan, out);
        }
        "runs" => {
            let code = words.get(2).map_or(0, |code| code.parse().expect("an exit code"));
            trial.runs(words[0], words[1].parse().expect("seconds"), code);
        }
        "jobs" => {
            for job in trial.plan().jobs {
                let _ = write!(out, "  {}/{}", job.app, job.container);
                if let Some(next) = job.next {
                    let _ = write!(out, ", next {}", next.strftime("%H:%M"));
                }
                for run in &job.running {
                    let _ = write!(out, ", that of {} runs on {}", run.due.strftime("%H:%M"), run.hostname);
                }
                if let Some(waits) = &job.waits {
                    let _ = write!(out, ", waits for {waits}");
                }
                if let Some(last) = &job.last {
                    let _ = write!(out, ", that of {} {}", last.due.strftime("%H:%M"), last.outcome.word());
                }
                let _ = writeln!(out);
            }
        }
        "strategies" => {
            for replacement in trial.plan().replacements {
                let _ = writeln!(out, "  ~  {replacement}");
            }
        }
        "forecast" => {
            trial.plan();
            let forecast = forecast(&trial.desired, &trial.look(), &trial.facts, trial.world.now);
            let _ = write!(out, "{forecast}");
            for condition in &forecast.end.conditions {
                let _ = writeln!(out, "  !  {condition}");
            }
            for hold in &forecast.stuck_on {
                let _ = writeln!(out, "  …  {hold}");
            }
        }
        "containers" => {
            for line in trial.containers() {
                let _ = writeln!(out, "  {line}");
            }
        }
        other => panic!("{other}?"),
    }
}

/// So many GiB.
fn gib(number: &str) -> u64 {
    number.parse::<u64>().expect("GiB") << 30
}

fn told(plan: &evenkeel::plan::Plan, out: &mut String) {
    for condition in &plan.conditions {
        let _ = writeln!(out, "  !  {condition}");
    }
    for hold in &plan.holds {
        let _ = writeln!(out, "  …  {hold}");
    }
}
