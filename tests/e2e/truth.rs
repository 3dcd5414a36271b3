//! The simulator told the truth: one of its scenarios on LocalStack with real engines, where everything goes in the
//! order that the simulated world had it in.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::{
    controller::words,
    ec2,
    fleet::{Fleet, beside_others},
    ground::SHARED,
    place::Place,
};

/// A scenario, and the manifest that is given in it: of each provider, with the same app.
const ON_OPSWORKS: [&str; 2] = ["on-real-engines-it-goes-in-the-same-order", "ground"];
const ON_EC2: [&str; 2] = ["ec2-on-real-engines-it-goes-in-the-same-order", "ground-on-ec2"];

/// What the golden file says of one `converge`: the edits before it, and what is done.
struct Act {
    edits: Vec<(String, String)>,
    done: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_scenario_of_the_simulator_goes_in_the_same_order_on_real_engines() {
    let _turn = beside_others().await;
    let [scenario, given] = ON_OPSWORKS;
    goes_in_the_same_order(&Fleet::new("truth", "eu-south-1"), scenario, manifest(given)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_scenario_of_the_simulator_goes_in_the_same_order_on_real_engines() {
    let _turn = beside_others().await;
    let [scenario, given] = ON_EC2;
    let fleet = ec2::fleet::Fleet::new("truth", SHARED);
    goes_in_the_same_order(&fleet, scenario, ec2::manifest::played(&fleet, &manifest(given))).await;
}

#[test]
fn whoever_runs_the_instances_a_scenario_goes_in_the_same_order() {
    let [opsworks, ec2] = [ON_OPSWORKS, ON_EC2].map(|[scenario, given]| {
        let manifest = manifest(given);
        let (_, app) = manifest.split_once("---\n").expect("two documents");
        (app.to_owned(), acts(scenario))
    });
    assert_eq!(ec2.0, opsworks.0, "the app is the same to the letter");
    assert_eq!(ec2.1.len(), opsworks.1.len());
    for (number, (ec2, opsworks)) in ec2.1.iter().zip(&opsworks.1).enumerate() {
        assert_eq!(ec2.edits, opsworks.edits);
        let [ec2, opsworks] =
            [ec2, opsworks].map(|act| -> Vec<String> { act.done.iter().filter_map(|it| of_both(it)).collect() });
        assert_eq!(in_order(&ec2, subject), in_order(&opsworks, subject), "act {number}");
        assert_eq!(moves(&ec2), moves(&opsworks), "act {number}");
    }
}

async fn goes_in_the_same_order<P: Place>(place: &P, scenario: &str, mut text: String) {
    let first = place.commit(&text);
    let mut controller = place.start(&[]);
    let mut known = 0;
    for (number, act) in acts(scenario).into_iter().enumerate() {
        for (from, to) in &act.edits {
            assert!(text.contains(from), "nothing to edit: {from}");
            text = text.replace(from, to);
        }
        let revision = if act.edits.is_empty() { first.clone() } else { place.commit(&text) };
        controller.until_converged(place.name(), &revision, P::LIMIT + 30).await;
        let all = done(place);
        let (now, told) = (without_first_registrations(&all[known..]), without_first_registrations(&act.done));
        known = all.len();
        // On instances that are new, which digest is known first decides which container comes first.
        let of = if number == 0 { container } else { subject };
        assert_eq!(in_order(&now, of), in_order(&told, of), "act {number}\n{}", controller.tail());
        // While something serves, what takes it out and puts it back has one order over all instances.
        if number > 0 {
            assert_eq!(moves(&now), moves(&told), "act {number}\n{}", controller.tail());
        }
    }
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(given: &str) -> String {
    read(&format!("manifests/{given}.yaml"))
}

/// What the golden file says of a scenario, act by act.
fn acts(scenario: &str) -> Vec<Act> {
    let golden = read(&format!("{scenario}.golden"));
    let mut acts = Vec::new();
    let mut edits = Vec::new();
    for line in golden.lines() {
        if let Some(edit) = line.strip_prefix("> edit ") {
            let (from, to) = edit.split_once(" => ").expect("edit A => B");
            edits.push((from.to_owned(), to.to_owned()));
        } else if line == "> converge" {
            acts.push(Act { edits: std::mem::take(&mut edits), done: Vec::new() });
        } else if let (Some(act), Some(said)) = (acts.last_mut(), line.strip_prefix("  "))
            && !said.starts_with('=')
        {
            act.done.push(in_every_world(said));
        }
    }
    assert!(acts.len() > 3 && acts.iter().all(|act| !act.done.is_empty()), "{golden}");
    acts
}

/// What the controller has done so far, in the order in which it was done.
fn done(place: &impl Place) -> Vec<String> {
    let said = words(&place.evenkeel(&["status", "--events", "1000"]));
    // What failed is done again, and counts when it is done.
    let events = said.lines().filter_map(|line| Some(line.rsplit_once(": done in ")?.0.trim()));
    // Each begins with its time.
    let actions = events.filter_map(|event| Some(event.split_once(char::is_whitespace)?.1.trim()));
    // Nothing is done by keeping books.
    actions.filter(|action| !action.starts_with("record ")).map(in_every_world).collect()
}

/// Which digest a tag has is the registry's affair; ids, images and zones are EC2's.
fn in_every_world(action: &str) -> String {
    let is_of_ec2 = ["launch instance ", "terminate instance "].iter().any(|verb| action.starts_with(verb));
    let end = if is_of_ec2 { " (" } else { " (sha256:" };
    let action = action.split_once(end).map_or(action, |(before, _)| before);
    match action.strip_prefix("mark volume ").and_then(|rest| rest.split_once(" of ")) {
        Some((_, hostname)) => format!("mark volume of {hostname}"),
        None => action.to_owned(),
    }
}

/// In words that fit both providers; nothing for what only one of them has done to it.
fn of_both(action: &str) -> Option<String> {
    let words: Vec<&str> = action.split(' ').collect();
    match words[..] {
        ["launch" | "start", "instance", hostname, ..] => Some(format!("{hostname} comes")),
        ["terminate" | "delete", "instance", hostname, ..] => Some(format!("{hostname} leaves")),
        ["register" | "deregister", hostname, ..] => Some(format!("{} {hostname}", words[0])),
        ["create", "stack" | "layer" | "app" | "instance", ..] => None,
        ["stop", "instance", ..] | ["attach" | "mark", ..] => None,
        _ => Some(action.to_owned()),
    }
}

/// OpsWorks itself registers an instance that comes online; whether it or the controller is first is no order to keep.
fn without_first_registrations(actions: &[String]) -> Vec<String> {
    let is_new = |host: &str| actions.iter().any(|action| action.starts_with(&format!("create instance {host} ")));
    let is_first = |action: &&String| action.starts_with("register ") && is_new(&subject(action));
    actions.iter().filter(|action| !is_first(action)).cloned().collect()
}

/// The instance that something is done to, or on; nothing for the rest of the cloud.
fn subject(action: &str) -> String {
    let mut words = action.split([' ', ':']);
    let found = words.find(|word| word.starts_with("docker") && word.ends_with(|c: char| c.is_ascii_digit()));
    found.unwrap_or_default().to_owned()
}

/// The same, and the container, where it is one.
fn container(action: &str) -> String {
    let name = ["web0", "worker0"].into_iter().find(|name| action.contains(name));
    format!("{} {}", subject(action), name.unwrap_or_default())
}

/// What is done, by what it is done to. Pulls and marks go beside everything else, and in no order: they are told sorted.
fn in_order(actions: &[String], of: fn(&str) -> String) -> BTreeMap<String, Vec<&str>> {
    let is_beside = |action: &&str| action.contains(": pull ") || action.starts_with("mark ");
    let (mut beside, others): (Vec<&str>, Vec<&str>) = actions.iter().map(String::as_str).partition(is_beside);
    beside.sort_unstable();
    let mut all = BTreeMap::from([("beside".to_owned(), beside)]);
    for action in others {
        all.entry(of(action)).or_default().push(action);
    }
    all
}

fn moves(actions: &[String]) -> Vec<&str> {
    let is_move = |action: &&str| action.contains("register ") || action.contains(": stop web");
    actions.iter().map(String::as_str).filter(is_move).collect()
}
