//! The adapters that speak to AWS: [`OpsWorks`] and [`Ec2`], or [`Clouds`] for both of them, are the
//! [`Cloud`](crate::ports::Cloud), [`LoadBalancers`] the [`Balancers`](crate::ports::Balancers). All share one [`Aws`].

mod balancers;
mod bucket;
mod budget;
mod calls;
mod chain;
mod client;
mod clouds;
mod cloudwatch;
mod door;
mod ec2;
mod ecr;
mod elb;
mod elbv2;
mod flight;
mod opsworks;
mod place;
mod rds;
mod retry;
mod role;
mod secrets;
mod service;
mod several;
mod ssm;
mod sweeps;
mod trouble;

#[cfg(test)]
pub(crate) mod testing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;

pub use balancers::LoadBalancers;
pub use clouds::Clouds;
pub use ec2::Ec2;
pub(crate) use ecr::Token;
pub use elb::Elb;
pub use opsworks::OpsWorks;

use budget::Budgets;
use calls::Calls;
use client::Clients;
use place::{Account, Place};
use role::Role;

/// The way to AWS: configuration and credentials loaded once, clients made once per region and
/// assumed role, every request counted.
#[derive(Debug, Default)]
pub struct Aws {
    config: OnceCell<SdkConfig>,
    clients: Mutex<BTreeMap<Place, Arc<Clients>>>,
    budgets: Budgets,
    calls: Calls,
}

impl Aws {
    /// Reads nothing yet: configuration and credentials are looked for with the first call.
    pub fn new() -> Arc<Aws> {
        Arc::default()
    }

    /// How many requests were sent, retries included, by service and operation (`opsworks.DescribeStacks`).
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.calls.counted()
    }

    /// The clients for a stack, or for a region with the controller's own identity. A role that is not given shows in
    /// every call that is made with them.
    async fn clients(&self, place: impl Into<Place>) -> Arc<Clients> {
        let place = place.into();
        if let Some(clients) = self.made().get(&place) {
            return clients.clone();
        }
        let config = self.config.get_or_init(|| client::loader(&place.region).load()).await;
        let config = config.to_builder().region(Region::new(place.region.clone())).build();
        let config = match place.role.clone() {
            None => config,
            Some(role) => {
                let role = Role::new(role, &config, &self.calls).await;
                config.to_builder().credentials_provider(SharedCredentialsProvider::new(role)).build()
            }
        };
        let budget = self.budgets.of(Account::from(&place));
        let clients = Arc::new(Clients::new(&config, &self.calls, &budget));
        self.made().entry(place).or_insert(clients).clone()
    }

    fn made(&self) -> std::sync::MutexGuard<'_, BTreeMap<Place, Arc<Clients>>> {
        self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::{
        testing::{at, serve, shop},
        *,
    };
    use crate::{
        action::Action,
        ports::Cloud,
        spec::stack::AssumeRole,
        world::{Class, Seen, StackSettings},
    };

    /// Answers DescribeStacks with no stack, everything else with `status` and `code`.
    async fn answering(status: u16, code: &'static str) -> Arc<Aws> {
        serve(move |request| match request.contains("DescribeStacks") {
            true => (200, r#"{"Stacks":[]}"#.to_owned()),
            false => (status, format!(r#"{{"__type":"{code}","message":"said so"}}"#)),
        })
        .await
    }

    /// The buckets of what changes something on OpsWorks.
    fn writes(aws: &Aws) -> Arc<bucket::Buckets> {
        let account = Account::from(&Place::from(&shop()));
        aws.budgets.of(account).buckets("opsworks", budget::Use::Write, bucket::limits(service::OPSWORKS).1)
    }

    async fn create(aws: &Arc<Aws>) -> Class {
        let settings = StackSettings { name: "shop".into(), region: "eu-west-1".into(), ..Default::default() };
        let action = Action::CreateStack { settings };
        OpsWorks::new(aws.clone()).apply(&shop(), &action).await.unwrap_err().class
    }

    #[tokio::test]
    async fn a_look_at_a_closed_port_is_transient_and_knows_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let seen = OpsWorks::new(at(&endpoint).await).look(&shop()).await;
        let cloud = seen.opsworks().unwrap();
        let Seen::Unknown(trouble) = &cloud.stack else { panic!("{:?}", cloud.stack) };
        assert_eq!(trouble.class, Class::Transient);
        assert!(trouble.message.contains("nothing was sent"), "{}", trouble.message);
        assert!(cloud.layers.known().is_none() && seen.instances.known().is_none());
    }

    #[tokio::test]
    async fn a_create_that_may_have_happened_is_sent_once() {
        let aws = answering(500, "InternalFailure").await;
        assert_eq!(create(&aws).await, Class::Transient);
        assert_eq!(aws.calls()["opsworks.CreateStack"], 1);
        let (full, left) = (bucket::limits(service::OPSWORKS).1.burst, writes(&aws).left("CreateStack"));
        assert!(left < full - 0.5, "it has taken nothing from its bucket: {left} of {full}");
    }

    #[tokio::test]
    async fn a_create_that_is_throttled_is_sent_again_and_shows_as_throttled() {
        let aws = answering(400, "ThrottlingException").await;
        assert_eq!(create(&aws).await, Class::Throttled);
        assert_eq!(aws.calls()["opsworks.CreateStack"], 3);
        let pace = writes(&aws).pace("CreateStack");
        assert!(pace < 0.5, "it is sent more slowly: {pace}");
        assert!(writes(&aws).pace("CreateLayer") >= 1.0, "of its own");
    }

    #[tokio::test]
    async fn two_roles_of_an_account_take_from_the_same_buckets() {
        let aws = answering(500, "InternalFailure").await;
        let clients = async |account: &str, role: &str| {
            let arn = format!("arn:aws:iam::{account}:role/{role}");
            let role = Some(AssumeRole { arn, external_id: None });
            aws.clients(Place { region: "eu-west-1".into(), role }).await
        };
        let one = clients("111111111111", "one").await;
        let of_one = aws.budgets.count();
        let other = clients("111111111111", "other").await;
        assert!(!Arc::ptr_eq(&one, &other), "each has its own credentials");
        assert_eq!(aws.budgets.count(), of_one);
        clients("222222222222", "one").await;
        assert_eq!(aws.budgets.count(), 2 * of_one);
    }
}
