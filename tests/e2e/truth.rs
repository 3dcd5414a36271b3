//! The simulator told the truth: one of its scenarios on LocalStack with real engines, where everything goes in the
//! order that the simulated world had it in.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::{
    controller::{evenkeel, words},
    fleet::{Fleet, beside_others},
    place::Place,
};

const SCENARIO: &str = "on-real-engines-it-goes-in-the-same-order";

/// What the golden file says of one `converge`: the edits before it, and what is done.
struct Act {
    edits: Vec<(String, String)>,
    done: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scenario_of_the_simulator_goes_in_the_same_order_on_real_engines() {
    let _turn = beside_others().await;
    let (name, region) = ("truth", "eu-south-1");
    let fleet = Fleet::new(name, region);
    let mut text = scenarios("manifests/ground.yaml");
    let first = fleet.commit(&text);
    let mut controller = fleet.start(&[]);
    let mut known = 0;
    for (number, act) in acts(&scenarios(&format!("{SCENARIO}.golden"))).into_iter().enumerate() {
        for (from, to) in &act.edits {
            assert!(text.contains(from), "nothing to edit: {from}");
            text = text.replace(from, to);
        }
        let revision = if act.edits.is_empty() { first.clone() } else { fleet.commit(&text) };
        controller.until_converged(name, &revision, 180).await;
        let all = done(&fleet);
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

fn scenarios(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The golden file, act by act.
fn acts(golden: &str) -> Vec<Act> {
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
            act.done.push(said.to_owned());
        }
    }
    assert!(acts.len() > 3 && acts.iter().all(|act| !act.done.is_empty()), "{golden}");
    acts
}

/// What the controller has done so far, in the order in which it was done.
fn done(fleet: &Fleet) -> Vec<String> {
    let output = evenkeel(&["status", "--state", fleet.dir().join("state").to_str().unwrap(), "--events", "1000"]);
    let said = words(&output);
    // What failed is done again, and counts when it is done.
    let events = said.lines().filter_map(|line| Some(line.rsplit_once(": done in ")?.0.trim()));
    // Each begins with its time.
    let actions = events.filter_map(|event| Some(event.split_once(char::is_whitespace)?.1.trim()));
    // Nothing is done by keeping books, and which digest a tag has here is the registry's affair.
    actions.filter(|action| !action.starts_with("record ")).map(without_digest).collect()
}

fn without_digest(action: &str) -> String {
    action.split_once(" (sha256:").map_or(action, |(before, _)| before).to_owned()
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

/// What is done, by what it is done to. Pulls go beside everything else, and in no order: they are told sorted.
fn in_order(actions: &[String], of: fn(&str) -> String) -> BTreeMap<String, Vec<&str>> {
    let (mut pulls, others): (Vec<&str>, Vec<&str>) =
        actions.iter().map(String::as_str).partition(|action| action.contains(": pull "));
    pulls.sort_unstable();
    let mut all = BTreeMap::from([("pulls".to_owned(), pulls)]);
    for action in others {
        all.entry(of(action)).or_default().push(action);
    }
    all
}

fn moves(actions: &[String]) -> Vec<&str> {
    let is_move = |action: &&str| action.contains("register ") || action.contains(": stop web");
    actions.iter().map(String::as_str).filter(is_move).collect()
}
