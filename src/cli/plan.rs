//! `evenkeel plan`

use std::{process::ExitCode, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    fail,
    reach::{From, Reach, load},
    show,
};
use crate::{
    observe::{Ages, Picture},
    plan::{
        Facts, Plan,
        forecast::{Forecast, forecast},
        plan,
    },
    status::Kind,
    store::{Store, StoreError, Unwritten},
};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel plan deploy/examples/shop.yaml\n  \
    evenkeel plan ./manifests --json | jq '.stacks[].steps[].what'\n\n\
    Exit code 0: there is nothing to do. 2: there are changes. 1: it cannot be told, or cannot be done.")]
pub struct Args {
    /// A manifest, a directory of them, or a git URL.
    source: String,
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON: for each stack the plan itself (what may be done now), and every step to the end.
    #[arg(long)]
    json: bool,
}

/// Nothing is looked at again that was looked at a moment ago.
const STILL: Ages = Ages { cloud: LONG, balancers: LONG, engines: LONG, secrets: LONG };
const LONG: Duration = Duration::from_secs(3600);

/// One stack's part of `--json`.
#[derive(Debug, Serialize)]
struct StackPlan<'a> {
    stack: &'a str,
    revision: &'a str,
    /// What the controller would begin at this moment.
    now: &'a Plan,
    /// All of it, in order.
    steps: Vec<StepLine<'a>>,
    conditions: &'a [crate::status::Condition],
}

#[derive(Debug, Serialize)]
struct StepLine<'a> {
    number: usize,
    what: String,
    after: &'a [String],
    detail: &'a crate::action::Action,
}

/// Looks, plans, prints.
pub async fn run(args: Args) -> ExitCode {
    let revision = match args.reach.source(&args.source, &args.from, Duration::from_secs(30)) {
        Ok(mut source) => match load(&mut source).await {
            Ok(revision) => revision,
            Err(error) => return fail(error),
        },
        Err(error) => return fail(error),
    };
    let open = || Store::open_existing(&args.reach.state);
    let (store, host_keys) = match open().and_then(|store| Ok((store, open()?))) {
        Ok(stores) => stores,
        Err(error) => return fail(error),
    };
    let unwritten = Arc::new(Unwritten::over(host_keys));
    let ports = args.reach.ports(unwritten.clone(), unwritten);
    let mut changes = 0;
    let mut troubled = false;
    let mut json = Vec::new();
    for (name, desired) in &revision.manifests {
        let mut facts = match store.as_ref().map_or(Ok(Facts::default()), |store| remembered(store, name)) {
            Ok(facts) => facts,
            Err(error) => return fail(error),
        };
        let mut picture = Picture::new(ports.clone()).at_leisure();
        let mut seen = picture.look(desired, &facts, Ages::NOW).await;
        let at = Timestamp::now();
        seen.by_clock(at);
        // What the controller would put on record first tells which images to look for.
        if facts.record_all(&plan(desired, &seen, &facts, at).actions, at) {
            seen = picture.look(desired, &facts, STILL).await;
            seen.by_clock(at);
        }
        let now = plan(desired, &seen, &facts, at);
        let whole = forecast(desired, &seen, &facts, at);
        changes += whole.steps.len();
        troubled |= now.conditions.iter().chain(&whole.end.conditions).any(|condition| {
            !matches!(
                condition.kind,
                Kind::Suspended
                    | Kind::DrainTimedOut
                    | Kind::Outdated
                    | Kind::LoadUnknown
                    | Kind::NewerRelease
                    | Kind::RolledBack
                    | Kind::Paused
                    | Kind::NotificationFailed
                    | Kind::DiskFilling
            )
        });
        if args.json {
            json.push(serde_json::json!(StackPlan {
                stack: name,
                revision: &desired.revision,
                now: &now,
                steps: lines(&whole),
                conditions: &whole.end.conditions,
            }));
        } else {
            show::forecast(name, &desired.revision, &now, &whole);
        }
    }
    if args.json {
        println!("{}", serde_json::json!({ "stacks": json }));
    } else if revision.manifests.is_empty() {
        println!("{} declares no stack: there is nothing to do", args.source);
    }
    match (changes, troubled) {
        (_, true) => ExitCode::FAILURE,
        (0, false) => ExitCode::SUCCESS,
        (_, false) => ExitCode::from(2),
    }
}

fn remembered(store: &Store, stack: &str) -> Result<Facts, StoreError> {
    Ok(Facts {
        intents: store.intents(stack)?,
        releases: store.releases(stack)?,
        history: store.released(stack)?.into_iter().map(|one| one.released).collect(),
        migrated: store.migrated(stack)?,
        jobs: store.jobs(stack)?,
        scaled: store.scaled(stack)?,
        wishes: store.wishes(stack)?,
        told: store.told(stack)?,
        outbox: store.outbox(stack)?,
        ..Facts::default()
    })
}

fn lines(forecast: &Forecast) -> Vec<StepLine<'_>> {
    forecast
        .steps
        .iter()
        .map(|step| StepLine {
            number: step.number,
            what: step.action.to_string(),
            after: &step.after,
            detail: &step.action,
        })
        .collect()
}
