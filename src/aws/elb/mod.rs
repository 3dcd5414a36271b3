//! Classic load balancers.

mod apply;
mod look;
mod make;
mod owned;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::types::{Instance, InstanceState};

use super::{Aws, client::Clients, door::Doors, place::Place, service, sweeps::Sweeps, trouble};
use crate::{
    action::Action,
    ports::Balancers,
    spec::Stack,
    world::{Balancer, Class, Seen, Target, Trouble},
};

use look::Known;
use owned::Listing;

/// Classic load balancers, in every region.
#[derive(Debug, Clone)]
pub struct Elb {
    aws: Arc<Aws>,
    doors: Arc<Doors>,
    sweeps: Arc<Sweeps<Listing>>,
    known: Arc<Known>,
}

impl Elb {
    /// Makes no call yet. One for all stacks: its clones see to it that two deregistrations never count on each
    /// other's instance.
    pub fn new(aws: Arc<Aws>) -> Elb {
        Elb { aws, doors: Arc::default(), sweeps: Arc::default(), known: Arc::default() }
    }

    async fn api(&self, stack: &Stack) -> Api {
        let place = Place::from(stack);
        Api { clients: self.aws.clients(place.clone()).await, place }
    }
}

#[async_trait]
impl Balancers for Elb {
    async fn look(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        look::look(&self.api(stack).await, &self.doors, &self.known, names).await
    }

    async fn target(&self, stack: &Stack, balancer: &str, ec2_id: &str) -> Seen<Option<Target>> {
        self.api(stack).await.target(balancer, ec2_id).await.into()
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        let api = self.api(stack).await;
        let done = apply::apply(&api, &self.doors, action).await;
        if let Action::Register { balancer, .. } | Action::Deregister { balancer, .. } = action {
            self.known.forget_list(&api.place, balancer);
        }
        done
    }
}

/// The classic load balancers of one account's region.
struct Api {
    clients: Arc<Clients>,
    place: Place,
}

impl Api {
    fn call<'c>(&'c self, operation: &'static str, on: &'c str) -> trouble::Call<'c> {
        trouble::Call { service: service::ELB, operation, on, region: &self.place.region }
    }

    /// What the balancer says of every instance that is registered.
    async fn health(&self, balancer: &str) -> Result<Vec<InstanceState>, Trouble> {
        self.health_of(balancer, None).await.map(Option::unwrap_or_default)
    }

    /// What the balancer says of one instance: "state is returned even if they are no longer registered" (API
    /// reference of `DescribeInstanceHealth`). An instance that EC2 does not know any more is no target.
    async fn target(&self, balancer: &str, ec2_id: &str) -> Result<Option<Target>, Trouble> {
        let asked = Instance::builder().instance_id(ec2_id).build();
        let states = self.health_of(balancer, Some(vec![asked])).await?.unwrap_or_default();
        Ok(states.iter().find(|state| state.instance_id.as_deref() == Some(ec2_id)).and_then(target::target))
    }

    async fn health_of(
        &self,
        balancer: &str,
        instances: Option<Vec<Instance>>,
    ) -> Result<Option<Vec<InstanceState>>, Trouble> {
        let request = self.clients.elb.read.describe_instance_health().load_balancer_name(balancer);
        match request.set_instances(instances).send().await {
            Ok(answer) => Ok(answer.instance_states),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_end_point_exception()) => Ok(None),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
                Err(self.absent("DescribeInstanceHealth", balancer))
            }
            Err(error) => {
                let on = format!("load balancer {balancer}");
                Err(self.call("DescribeInstanceHealth", &on).failed(&error))
            }
        }
    }

    fn absent(&self, operation: &'static str, balancer: &str) -> Trouble {
        let message = format!(
            "{}:{operation}: load balancer {balancer} does not exist in {}: create it or correct loadBalancers in the \
             manifest",
            service::ELB,
            self.place.region
        );
        Trouble { class: Class::Terminal, message }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::aws::testing::{serve, shop};

    fn answer(operation: &str, result: &str) -> String {
        format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>")
    }

    fn state(id: &str, state: &str, description: &str) -> String {
        format!(
            "<member><InstanceId>{id}</InstanceId><State>{state}</State><Description>{description}</Description></member>"
        )
    }

    /// A balancer of two instances that stops listing one as soon as that drains, as the API reference allows.
    fn web(request: &str, leaving: &AtomicBool) -> String {
        let operation = request.split_once("Action=").unwrap().1.split('&').next().unwrap();
        let left = leaving.load(Ordering::SeqCst);
        let draining = "Instance deregistration currently in progress.";
        let (one, two) = (state("i-1", "InService", "N/A"), state("i-2", "InService", "N/A"));
        let result = match operation {
            "DescribeLoadBalancers" => {
                let one = if left { "" } else { "<member><InstanceId>i-1</InstanceId></member>" };
                format!(
                    "<LoadBalancerDescriptions><member><LoadBalancerName>web</LoadBalancerName><Instances>{one}\
                     <member><InstanceId>i-2</InstanceId></member></Instances></member></LoadBalancerDescriptions>"
                )
            }
            "DescribeInstanceHealth" => {
                let states = match (request.contains("i-1"), left) {
                    (true, true) => state("i-1", "InService", draining),
                    (true, false) => one,
                    (false, true) => two,
                    (false, false) => one + &two,
                };
                format!("<InstanceStates>{states}</InstanceStates>")
            }
            "DeregisterInstancesFromLoadBalancer" => {
                leaving.store(true, Ordering::SeqCst);
                String::new()
            }
            _ => String::new(),
        };
        answer(operation, &result)
    }

    #[tokio::test]
    async fn an_instance_that_is_no_longer_listed_is_still_seen_to_drain() {
        let leaving = AtomicBool::default();
        let elb = Elb::new(serve(move |request| (200, web(request, &leaving))).await);
        let names = BTreeSet::from(["web".to_owned()]);
        let leave =
            Action::Deregister { balancer: "web".into(), ec2_id: "i-1".into(), hostname: "docker1".into(), keep: 1 };
        elb.apply(&shop(), &leave).await.unwrap();
        let seen = elb.look(&shop(), &names).await;
        let targets = &seen["web"].known().expect("an answer").targets;
        assert_eq!(targets["i-1"], Target::Draining);
        assert_eq!(targets["i-2"], Target::InService);
    }

    /// How often each operation is called when it is looked three times at once, and what the last look saw.
    async fn three_looks(health: &'static str) -> (BTreeMap<String, usize>, Seen<Balancer>) {
        let calls = Arc::new(std::sync::Mutex::new(BTreeMap::<String, usize>::new()));
        let count = calls.clone();
        let aws = serve(move |request| {
            let operation = request.split_once("Action=").unwrap().1.split('&').next().unwrap().to_owned();
            let forgets = operation == "DescribeInstanceHealth" && !health.is_empty();
            *count.lock().unwrap().entry(operation.clone()).or_default() += 1;
            match forgets {
                true => (200, answer(&operation, &format!("<InstanceStates>{health}</InstanceStates>"))),
                false => (200, web(request, &AtomicBool::default())),
            }
        });
        let elb = Elb::new(aws.await);
        let names = BTreeSet::from(["web".to_owned()]);
        let mut seen = None;
        for _ in 0..3 {
            seen = elb.look(&shop(), &names).await.remove("web");
        }
        let calls = calls.lock().unwrap().clone();
        (calls, seen.unwrap())
    }

    #[tokio::test]
    async fn a_look_that_follows_another_asks_for_the_health_alone() {
        let (calls, seen) = three_looks("").await;
        assert_eq!(seen.known().expect("an answer").targets.len(), 2);
        assert_eq!(calls["DescribeInstanceHealth"], 3);
        assert_eq!((calls["DescribeLoadBalancers"], calls["DescribeLoadBalancerAttributes"]), (1, 1));
    }

    #[tokio::test]
    async fn who_is_listed_and_has_no_health_is_looked_up_again() {
        let (calls, seen) = three_looks("<member><InstanceId>i-2</InstanceId><State>InService</State></member>").await;
        assert!(matches!(seen.known().expect("an answer").targets["i-1"], Target::OutOfService(_)));
        assert!(calls["DescribeLoadBalancers"] > 3, "{calls:?}");
    }

    #[tokio::test]
    async fn a_controller_that_did_not_deregister_it_can_ask_by_id() {
        let leaving = AtomicBool::new(true);
        let elb = Elb::new(serve(move |request| (200, web(request, &leaving))).await);
        assert_eq!(elb.target(&shop(), "web", "i-1").await, Seen::Known(Some(Target::Draining)));
    }
}
