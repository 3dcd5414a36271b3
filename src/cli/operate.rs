//! What the commands have in common that ask something of the running controller.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::fail;
use crate::{
    action::Wish,
    controller::lease,
    plan::{
        JobRun,
        ask::{Ask, Known, Numbered},
    },
    status::{AppStatus, DeclaredContainer, Phase, StackStatus},
    store::Store,
};

/// Which app, and where the controller keeps what it remembers.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// The app, or one container of it: APP or APP/CONTAINER.
    #[arg(value_name = "APP[/CONTAINER]")]
    app: String,
    /// The stack, where several have an app of that name.
    #[arg(long, value_name = "STACK")]
    stack: Option<String>,
    /// Directory of the running controller's store.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE", default_value = "/var/lib/evenkeel")]
    state: PathBuf,
}

/// Whether to wait for what was asked for.
#[derive(Debug, clap::Args)]
pub struct Patience {
    /// Wait until everything is as declared and asked for, and show what happens meanwhile. The exit code tells
    /// whether it came to that.
    #[arg(long)]
    wait: bool,
    /// How many seconds to wait at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, requires = "wait")]
    timeout: u64,
}

/// The subject, found in what the controller wrote down.
pub struct Found {
    store: Store,
    status: StackStatus,
    app: AppStatus,
    container: Option<DeclaredContainer>,
    /// The releases of the stack, the oldest first.
    pub history: Vec<Numbered>,
    /// The runs of its jobs, in the order in which they were due.
    pub runs: Vec<JobRun>,
    wishes: Vec<Wish>,
}

impl Subject {
    /// Finds it. `writes`: something is to be asked for.
    ///
    /// # Errors
    /// One message for the person who called it.
    pub fn find(&self, writes: bool) -> Result<Found, String> {
        let told = |error: crate::store::StoreError| error.to_string();
        let state = self.state.display();
        // A store that is not there is not made: the name of its directory is wrong then.
        let Some(mut store) = Store::open_existing(&self.state).map_err(told)? else {
            return Err(format!(
                "there is no store in {state}: start a controller with evenkeel run --state {state}, or name its \
                 directory with --state"
            ));
        };
        if writes {
            store = Store::open(&self.state).map_err(told)?;
        }
        let statuses = store.statuses().map_err(told)?;
        let (status, app, container) = pick(&statuses, self.stack.as_deref(), &self.app)?;
        let history = store.released(&status.stack).map_err(told)?;
        let runs = store.jobs(&status.stack).map_err(told)?.runs;
        let wishes = store.wishes(&status.stack).map_err(told)?;
        Ok(Found { store, status, app, container, history, runs, wishes })
    }

    /// Finds it, with the index of one replica where its name ends with one.
    ///
    /// # Errors
    /// One message for the person who called it.
    pub fn find_replica(&self) -> Result<(Found, Option<u32>), String> {
        self.find(true).map(|found| (found, None)).or_else(|error| {
            let key = self.app.trim_end_matches(|c: char| c.is_ascii_digit());
            let index = self.app[key.len()..].parse().map_err(|_| error.clone())?;
            let subject = Subject { app: key.to_owned(), stack: self.stack.clone(), state: self.state.clone() };
            let found = subject.find(true).map_err(|_| error.clone())?;
            if found.container.is_none() {
                return Err(error);
            }
            Ok((found, Some(index)))
        })
    }

    /// The controller's store, for another use of it.
    ///
    /// # Errors
    /// One message for the person who called it.
    pub fn store(&self) -> Result<Store, String> {
        Store::open(&self.state).map_err(|error| error.to_string())
    }

    /// Asks for it, says what was asked for, and waits for it if that is wanted.
    pub async fn ask(
        &self,
        patience: Option<&Patience>,
        what: impl FnOnce(Known<'_>) -> Result<Ask, String>,
    ) -> ExitCode {
        let found = match self.find(true) {
            Ok(found) => found,
            Err(error) => return fail(error),
        };
        let ask = match what(found.known()) {
            Ok(ask) => ask,
            Err(error) => return fail(error),
        };
        let stack = &found.status.stack;
        let before = Timestamp::now();
        if let Err(error) = found.store.ask(stack, &ask.wishes, &ask.taken_back) {
            return fail(error);
        }
        println!("stack {stack}, app {}", found.app.name);
        for said in &ask.said {
            println!("  {said}");
        }
        let patience = patience.filter(|patience| patience.wait);
        match lease::holder(&self.state) {
            Some(holder) => println!(
                "The controller (process {holder}) takes it up within {} s.{}",
                crate::controller::LISTENS.as_secs().max(1),
                if patience.is_some() { "" } else { " evenkeel status --watch shows how it goes." }
            ),
            None => println!("No controller is running with this store: it is done once one is."),
        }
        match patience {
            Some(patience) => found.wait(&ask, Duration::from_secs(patience.timeout), before).await,
            None => ExitCode::SUCCESS,
        }
    }
}

/// The stack, the app and the container that a name means.
fn pick(
    statuses: &[StackStatus],
    stack: Option<&str>,
    name: &str,
) -> Result<(StackStatus, AppStatus, Option<DeclaredContainer>), String> {
    let mut matches = Vec::new();
    let mut strangers = Vec::new();
    for status in statuses.iter().filter(|status| stack.is_none_or(|stack| stack == status.stack)) {
        for app in &status.apps {
            // An app's name may hold a slash itself.
            if app.name == name {
                matches.push((status, app, None));
            } else if let Some(key) = name.strip_prefix(app.name.as_str()).and_then(|rest| rest.strip_prefix('/')) {
                match app.containers.iter().find(|container| container.name == key) {
                    Some(container) => matches.push((status, app, Some(container))),
                    None => {
                        let names: Vec<&str> = app.containers.iter().map(|one| one.name.as_str()).collect();
                        strangers.push(format!("app {} has no container {key}, but {}", app.name, names.join(", ")));
                    }
                }
            }
        }
    }
    match matches[..] {
        [(status, app, container)] => Ok((status.clone(), app.clone(), container.cloned())),
        [] => Err(strangers.into_iter().next().unwrap_or_else(|| unknown(statuses, stack, name))),
        _ => {
            let stacks: Vec<&str> = matches.iter().map(|(status, ..)| status.stack.as_str()).collect();
            Err(format!("{name} is in stacks {}: name one with --stack", stacks.join(", ")))
        }
    }
}

fn unknown(statuses: &[StackStatus], stack: Option<&str>, name: &str) -> String {
    let of = |status: &StackStatus| status.apps.iter().map(|app| app.name.clone()).collect::<Vec<_>>();
    let all: Vec<String> = statuses.iter().flat_map(of).collect();
    let known = if all.is_empty() { "none was looked at yet".to_owned() } else { all.join(", ") };
    match stack.filter(|stack| !statuses.iter().any(|status| status.stack == *stack)) {
        Some(stack) => {
            let stacks: Vec<&str> = statuses.iter().map(|status| status.stack.as_str()).collect();
            format!("no stack {stack} is reconciled here, but {}", stacks.join(", "))
        }
        None => format!("no app {name} is reconciled here; the apps are: {known}"),
    }
}

impl Found {
    /// What the controller wrote down of the stack.
    pub fn status(&self) -> &StackStatus {
        &self.status
    }

    /// The app.
    pub fn app(&self) -> &AppStatus {
        &self.app
    }

    /// The container, where one is meant.
    pub fn container(&self) -> Option<&DeclaredContainer> {
        self.container.as_ref()
    }

    /// The store that it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is known when something is asked for.
    pub fn known(&self) -> Known<'_> {
        Known {
            app: &self.app,
            container: self.container.as_ref(),
            history: &self.history,
            wishes: &self.wishes,
            now: Timestamp::now(),
        }
    }

    /// Shows what happens until what was asked for has come about, or cannot.
    async fn wait(&self, ask: &Ask, timeout: Duration, since: Timestamp) -> ExitCode {
        let began = Instant::now();
        let stack = &self.status.stack;
        let mut shown = 0;
        loop {
            let look = || -> Result<_, crate::store::StoreError> {
                let status = self.store.statuses()?.into_iter().find(|status| status.stack == *stack);
                let events = self.store.events(stack, 1000)?;
                Ok((status, events, self.store.wishes(stack)?))
            };
            let (status, events, wishes) = match look() {
                Ok(seen) => seen,
                Err(error) => return fail(error),
            };
            let new: Vec<_> = events.iter().filter(|event| event.at >= since).collect();
            for event in new.iter().skip(shown) {
                println!("  {}  {}", event.at.strftime("%H:%M:%S"), event.text);
            }
            shown = new.len().max(shown);
            // Only a pass that knew of it tells anything about it.
            if let Some(status) = status.filter(|status| status.at > since && knows(status, ask, &wishes)) {
                match status.phase {
                    Phase::Converged => {
                        println!("{stack} is as declared and asked for, after {:.0} s.", began.elapsed().as_secs_f64());
                        return ExitCode::SUCCESS;
                    }
                    Phase::Blocked | Phase::Suspended => {
                        let why: Vec<String> = status.conditions.iter().map(ToString::to_string).collect();
                        return fail(format!("stack {stack} is {}: {}", status.phase, why.join("; ")));
                    }
                    Phase::Progressing => {}
                }
                if began.elapsed() >= timeout {
                    let on: Vec<String> = status.holds.iter().map(ToString::to_string).collect();
                    return fail(format!("not done after {} s; {}", timeout.as_secs(), on.join("; ")));
                }
            } else if began.elapsed() >= timeout {
                return fail(format!("no controller took it up within {} s", timeout.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// True when a status was written by a pass that knew what was asked for: what is left of it is in its words.
fn knows(status: &StackStatus, ask: &Ask, left: &[Wish]) -> bool {
    let is_over = |wish: &Wish| !left.iter().any(|other| other.at == wish.at && other.subject() == wish.subject());
    let is_told = |wish: &Wish| status.asked.iter().any(|asked| asked.starts_with(&wish.to_string()));
    ask.wishes.iter().all(|wish| is_over(wish) || is_told(wish)) && !ask.taken_back.iter().any(is_told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(stack: &str, app: &str) -> StackStatus {
        let container = DeclaredContainer { name: "web".into(), image: "web:1".into(), by_hand: false };
        StackStatus {
            stack: stack.into(),
            revision: "r1".into(),
            phase: Phase::Converged,
            at: Timestamp::UNIX_EPOCH,
            conditions: Vec::new(),
            holds: Vec::new(),
            doing: Vec::new(),
            instances: Vec::new(),
            balancers: Vec::new(),
            apps: vec![AppStatus { name: app.into(), containers: vec![container] }],
            scaling: Vec::new(),
            jobs: Vec::new(),
            asked: Vec::new(),
            mutations: 0,
            last_pass_mutations: 0,
        }
    }

    #[test]
    fn an_app_is_found_by_its_name_and_a_container_behind_it_though_names_hold_blanks_and_slashes() {
        let all = [status("one", "amazing application"), status("two", "a/b")];
        let (stack, app, container) = pick(&all, None, "amazing application/web").unwrap();
        assert_eq!((stack.stack.as_str(), app.name.as_str()), ("one", "amazing application"));
        assert_eq!(container.map(|container| container.name), Some("web".into()));
        assert_eq!(pick(&all, None, "a/b").unwrap().2, None);
        assert_eq!(pick(&all, None, "a/b/web").unwrap().0.stack, "two");
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_said_with_what_there_is() {
        let all = [status("one", "shop"), status("two", "shop"), status("three", "blog")];
        let refused = |stack, name| pick(&all, stack, name).unwrap_err();
        assert_eq!(refused(None, "shop"), "shop is in stacks one, two: name one with --stack");
        assert_eq!(pick(&all, Some("two"), "shop").unwrap().0.stack, "two");
        assert_eq!(refused(None, "blog/app"), "app blog has no container app, but web");
        assert_eq!(refused(None, "nope"), "no app nope is reconciled here; the apps are: shop, shop, blog");
        assert_eq!(refused(Some("four"), "shop"), "no stack four is reconciled here, but one, two, three");
    }
}
