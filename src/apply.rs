//! Carries out one action. Decides nothing: each action has a deadline, and a precondition that is checked just
//! before.

use std::collections::BTreeSet;

use crate::{
    action::{Action, EngineAction, Guard, Node},
    observe::Ports,
    ports::{Given, Progress},
    spec::{Stack, balancer::words},
    world::{Class, Seen, Target, Trouble, connections},
};

/// Carries out one action, with what no plan tells: whatever goes wrong, that is not told either.
///
/// # Errors
/// What went wrong. An action that did not answer within its deadline has an unknown outcome.
pub async fn apply(
    ports: &Ports,
    stack: &Stack,
    action: &Action,
    given: &Given,
    progress: &Progress,
) -> Result<(), Trouble> {
    let deadline = action.deadline();
    match tokio::time::timeout(deadline, carry_out(ports, stack, action, given, progress)).await {
        Ok(result) => result.map_err(|trouble| given.hide(trouble)),
        Err(_) => Err(Trouble {
            class: Class::UnknownOutcome,
            message: format!("no answer within {}s; it is looked at again before anything else", deadline.as_secs()),
        }),
    }
}

async fn carry_out(
    ports: &Ports,
    stack: &Stack,
    action: &Action,
    given: &Given,
    progress: &Progress,
) -> Result<(), Trouble> {
    match action {
        Action::Register { .. } | Action::Deregister { .. } | Action::Owned { .. } => {
            ports.balancers.apply(stack, action).await
        }
        Action::Engine { node, what } => {
            if let EngineAction::Stop { name, guard: Some(guard), .. } = what {
                let subject = format!("{}/{name}", node.hostname);
                // At once: the instance is out of service for as long as they take.
                tokio::try_join!(
                    still_out(ports, stack, guard, &subject),
                    still_unconnected(ports, node, guard, &subject)
                )?;
            }
            ports.engines.apply(node, what, given, progress).await
        }
        Action::Record { release } => ports.records.record(&stack.name, release),
        Action::RecordMigration { migrated } => ports.records.record_migration(&stack.name, migrated),
        Action::NoteJob { note } => ports.records.note_job(&stack.name, note),
        Action::Scale { scaled } => ports.records.scale(&stack.name, scaled),
        Action::ForgetScale { layer } => ports.records.forget_scale(&stack.name, layer),
        Action::BeginWish { wish } => ports.records.begin_wish(&stack.name, wish),
        Action::EndWish { wish, .. } => ports.records.end_wish(&stack.name, wish),
        Action::Announce { notice } => ports.records.announce(&stack.name, notice),
        Action::EndDelivery { delivery, .. } => ports.records.end_delivery(&stack.name, delivery),
        Action::Deliver { delivery } => {
            let Some(address) = &given.address else { return Ok(()) };
            // What has arrived is struck out, and what has not says why: in the store, where the next try is planned from.
            match ports.herald.tell(stack, delivery, address).await.map_err(|trouble| given.hide(trouble)) {
                Ok(()) => ports.records.end_delivery(&stack.name, delivery),
                Err(trouble) => {
                    ports.records.tried(&stack.name, delivery, &trouble.message)?;
                    Err(trouble)
                }
            }
        }
        Action::RegisterDatabase { .. } | Action::UpdateDatabase { .. } => {
            let Some(access) = &given.access else { return Ok(()) };
            ports.cloud.tell_of_database(stack, action, access).await
        }
        Action::TerminateInstance { id, hostname, drained }
        | Action::StopInstance { ec2_id: Some(id), hostname, drained, .. } => {
            gets_no_requests(ports, stack, id, hostname, *drained).await?;
            ports.cloud.apply(stack, action).await
        }
        _ => ports.cloud.apply(stack, action).await,
    }
}

/// The precondition of ending an instance: the plan may rest on what a load balancer said before it was
/// registered there, and one that is registered again may be taken in between the question and its end.
async fn gets_no_requests(
    ports: &Ports,
    stack: &Stack,
    id: &str,
    hostname: &str,
    drained: bool,
) -> Result<(), Trouble> {
    let balancers: BTreeSet<&str> =
        stack.layers.iter().flat_map(|layer| layer.load_balancers.iter().map(|balancer| balancer.name())).collect();
    for name in balancers {
        let trouble = match ports.balancers.target(stack, name, id).await {
            Seen::Known(None) => continue,
            Seen::Known(Some(Target::Draining)) if !drained => continue,
            Seen::Known(Some(target)) => held(name, &target),
            Seen::Unknown(trouble) => trouble.message,
        };
        let message = format!("{hostname} ({id}) was not ended: {trouble}; it is drained first");
        return Err(Trouble { class: Class::Transient, message });
    }
    Ok(())
}

/// What a load balancer still has to do with an instance that it should know no more.
fn held(name: &str, target: &Target) -> String {
    match target {
        Target::InService => format!("{} sends it requests", words(name)),
        Target::OutOfService(why) => format!("it is registered with {} again ({why})", words(name)),
        Target::Draining => format!("{} still drains it", words(name)),
    }
}

/// The precondition of stopping what serves: no balancer sends the instance requests.
async fn still_out(ports: &Ports, stack: &Stack, guard: &Guard, subject: &str) -> Result<(), Trouble> {
    for name in &guard.balancers {
        let trouble = match ports.balancers.target(stack, name, &guard.ec2_id).await {
            Seen::Known(None) => continue,
            Seen::Known(Some(Target::Draining)) if !guard.drained => continue,
            Seen::Known(Some(target @ Target::InService)) => format!("{} again", held(name, &target)),
            Seen::Known(Some(target)) => held(name, &target),
            Seen::Unknown(trouble) => trouble.message,
        };
        return Err(Trouble { class: Class::Transient, message: format!("{subject} was not stopped: {trouble}") });
    }
    Ok(())
}

/// Nobody has connected meanwhile. What cannot tell any more stands in the way of nothing.
async fn still_unconnected(ports: &Ports, node: &Node, guard: &Guard, subject: &str) -> Result<(), Trouble> {
    for (name, id) in &guard.unconnected {
        if let Some(count) = ports.engines.connections(node, id).await.filter(|count| *count > 0) {
            let message = format!("{subject} was not stopped: {} to {name} came up", connections(count));
            return Err(Trouble { class: Class::Transient, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        action::{Access, JobNote, Migrated, Node, Release, StopHow, Wish},
        ports::{Balancers, Cloud, Engines, Herald, Login, Records, Vault},
        secret::Secret,
        spec::{File, validate},
        world::{Balancer, Engine, Provided},
    };

    const MANIFEST: &str = include_str!("../tests/scenarios/manifests/ec2.yaml");

    /// A load balancer that says one thing of every instance, and what the provider was asked for.
    struct Fake {
        says: Seen<Option<Target>>,
        connections: Option<u32>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Cloud for Fake {
        async fn look(&self, _: &Stack) -> Provided {
            unreachable!("nobody looks")
        }

        async fn apply(&self, _: &Stack, action: &Action) -> Result<(), Trouble> {
            self.asked.lock().unwrap().push(action.key());
            Ok(())
        }
    }

    #[async_trait]
    impl Balancers for Fake {
        async fn look(&self, _: &Stack, _: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
            unreachable!("nobody looks")
        }

        async fn target(&self, _: &Stack, _: &str, _: &str) -> Seen<Option<Target>> {
            self.says.clone()
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is registered")
        }
    }

    #[async_trait]
    impl Engines for Fake {
        async fn look(&self, _: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
            unreachable!("nobody looks")
        }

        async fn digest(&self, _: &Node, _: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
            unreachable!("no registry is asked")
        }

        async fn apply(&self, _: &Node, what: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
            self.asked.lock().unwrap().push(what.to_string());
            Ok(())
        }

        async fn connections(&self, _: &Node, _: &str) -> Option<u32> {
            self.connections
        }

        async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
    }

    impl Vault for Fake {}

    impl Herald for Fake {}

    impl Fake {
        fn note(&self, what: String) -> Result<(), Trouble> {
            self.asked.lock().unwrap().push(what);
            Ok(())
        }
    }

    impl Records for Fake {
        fn record(&self, stack: &str, release: &Release) -> Result<(), Trouble> {
            self.note(format!("{stack}: {release}"))
        }

        fn record_migration(&self, stack: &str, migrated: &Migrated) -> Result<(), Trouble> {
            self.note(format!("{stack}: {migrated}"))
        }

        fn note_job(&self, stack: &str, note: &JobNote) -> Result<(), Trouble> {
            self.asked.lock().unwrap().push(format!("{stack}: {note}"));
            Ok(())
        }

        fn begin_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble> {
            self.note(format!("{stack}: begin {wish}"))
        }

        fn end_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble> {
            self.note(format!("{stack}: end {wish}"))
        }
    }

    async fn done(
        action: Action,
        says: Seen<Option<Target>>,
        connections: Option<u32>,
    ) -> (Result<(), Trouble>, usize) {
        let files = vec![File::new("manifest.yaml", MANIFEST.as_bytes().to_vec())];
        let stack = validate::load("r1", files).unwrap().into_values().next().unwrap().stack;
        let fake = Arc::new(Fake { says, connections, asked: Mutex::default() });
        let ports = Ports {
            cloud: fake.clone(),
            balancers: fake.clone(),
            engines: fake.clone(),
            records: fake.clone(),
            vault: fake.clone(),
            herald: fake.clone(),
        };
        let result = apply(&ports, &stack, &action, &Given::default(), &(Arc::new(|_| ()) as _)).await;
        let asked = fake.asked.lock().unwrap().len();
        (result, asked)
    }

    async fn terminate(says: Seen<Option<Target>>) -> (Result<(), Trouble>, usize) {
        done(Action::TerminateInstance { id: "i-1".into(), hostname: "docker1".into(), drained: true }, says, None)
            .await
    }

    async fn stop(drained: bool, says: Option<Target>, connections: Option<u32>) -> (Result<(), Trouble>, usize) {
        let access = Access::Tls { name: None };
        let node = Node { hostname: "docker1".into(), endpoint: "192.0.2.1:2376".into(), access };
        let unconnected = BTreeMap::from([("nginx0".into(), "1".into())]);
        let guard = Guard { ec2_id: "i-1".into(), balancers: vec!["hello".into()], drained, unconnected };
        let how = StopHow { signal: None, timeout: std::time::Duration::from_secs(1) };
        let what = EngineAction::Stop { id: "2".into(), name: "app0".into(), stop: how, guard: Some(guard) };
        done(Action::Engine { node, what }, Seen::Known(says), connections).await
    }

    #[tokio::test]
    async fn what_somebody_connected_to_meanwhile_is_not_stopped() {
        let (result, asked) = stop(true, None, Some(1)).await;
        let trouble = result.unwrap_err();
        assert_eq!((trouble.class, asked), (Class::Transient, 0));
        assert_eq!(trouble.message, "docker1/app0 was not stopped: 1 connection to nginx0 came up");
    }

    #[tokio::test]
    async fn what_nobody_is_connected_to_or_cannot_tell_is_stopped() {
        for connections in [Some(0), None] {
            assert_eq!(stop(true, None, connections).await, (Ok(()), 1));
        }
    }

    #[tokio::test]
    async fn after_drain_timeout_what_still_drains_is_stopped_and_what_was_registered_again_is_not() {
        assert_eq!(stop(false, Some(Target::Draining), None).await, (Ok(()), 1));
        let registered = || Target::OutOfService("registration in progress".into());
        for (drained, says) in [(true, Target::Draining), (false, Target::InService), (false, registered())] {
            let (result, asked) = stop(drained, Some(says), None).await;
            assert_eq!((result.unwrap_err().class, asked), (Class::Transient, 0));
        }
    }

    #[test]
    fn what_goes_wrong_is_told_without_the_values_that_it_went_wrong_with() {
        let env = BTreeMap::from([("TOKEN".into(), Secret::new("hunter2")), ("MODE".into(), Secret::new("a"))]);
        let message = "cannot create app0: invalid environment variable: TOKEN=hunter2".to_owned();
        let hidden = Given { env, ..Given::default() }.hide(Trouble { class: Class::Terminal, message });
        assert_eq!(hidden.message, "cannot create app0: invalid environment variable: TOKEN=***");
    }

    #[tokio::test]
    async fn an_instance_that_a_load_balancer_sends_requests_to_is_not_terminated() {
        let (result, asked) = terminate(Seen::Known(Some(Target::InService))).await;
        let trouble = result.unwrap_err();
        assert_eq!((trouble.class, asked), (Class::Transient, 0));
        assert_eq!(
            trouble.message,
            "docker1 (i-1) was not ended: target group hello:80 sends it requests; it is drained first"
        );
    }

    #[tokio::test]
    async fn an_instance_of_opsworks_is_not_stopped_either_while_it_gets_requests() {
        let stop_of = |ec2_id: Option<&str>| Action::StopInstance {
            id: "0f1c".into(),
            ec2_id: ec2_id.map(str::to_owned),
            hostname: "docker1".into(),
            drained: true,
        };
        let (result, asked) = done(stop_of(Some("i-1")), Seen::Known(Some(Target::InService)), None).await;
        assert_eq!((result.unwrap_err().class, asked), (Class::Transient, 0));
        assert_eq!(done(stop_of(Some("i-1")), Seen::Known(None), None).await, (Ok(()), 1));
        // It never was on EC2, so that no load balancer can know it.
        assert_eq!(done(stop_of(None), Seen::Known(Some(Target::InService)), None).await, (Ok(()), 1));
    }

    #[tokio::test]
    async fn an_instance_of_which_a_load_balancer_gives_no_answer_is_not_terminated() {
        let none = Trouble { class: Class::Throttled, message: "no answer".into() };
        let (result, asked) = terminate(Seen::Unknown(none)).await;
        assert_eq!((result.unwrap_err().class, asked), (Class::Transient, 0));
    }

    #[tokio::test]
    async fn an_instance_is_terminated_once_it_is_drained_and_not_when_it_is_registered_again() {
        assert_eq!(terminate(Seen::Known(None)).await, (Ok(()), 1));
        let (result, asked) = terminate(Seen::Known(Some(Target::Draining))).await;
        assert_eq!((result.unwrap_err().class, asked), (Class::Transient, 0));
        // Its drain took too long, and that is on record.
        let overdue = Action::TerminateInstance { id: "i-1".into(), hostname: "docker1".into(), drained: false };
        assert_eq!(done(overdue, Seen::Known(Some(Target::Draining)), None).await, (Ok(()), 1));
        let initial = Target::OutOfService("initial health checks in progress".into());
        let (result, asked) = terminate(Seen::Known(Some(initial))).await;
        let trouble = result.unwrap_err();
        assert_eq!((trouble.class, asked), (Class::Transient, 0));
        assert_eq!(
            trouble.message,
            "docker1 (i-1) was not ended: it is registered with target group hello:80 again (initial health checks in \
             progress); it is drained first"
        );
    }
}
