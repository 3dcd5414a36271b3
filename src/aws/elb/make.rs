//! Making classic load balancers, and changing them.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancing::types::{ConnectionDraining, HealthCheck, Listener, LoadBalancerAttributes, Tag};

use super::{Api, Elb, look::describe, owned::registered};
use crate::{
    action::BalancerAction,
    spec::{self, Stack},
    world::{Check, Class, Part, Trouble, tag},
};

impl Elb {
    /// Carries out one action on an owned classic load balancer.
    pub(in crate::aws) async fn make(&self, stack: &Stack, name: &str, what: &BalancerAction) -> Result<(), Trouble> {
        let api = self.api(stack).await;
        if let Some(part) = what.touches() {
            api.still_ours(stack, part).await?;
        }
        let done = api.carry_out(name, what).await;
        self.known.forget(&api.place, name);
        if matches!(what, BalancerAction::Delete { .. }) {
            self.sweeps.forget();
        }
        done
    }
}

impl Api {
    /// The precondition: nothing is touched that bears no mark.
    async fn still_ours(&self, stack: &Stack, part: &Part) -> Result<(), Trouble> {
        let id = part.id().to_owned();
        if stack.adopt || self.marked(std::slice::from_ref(&id), &stack.name).await?.contains(&id) {
            return Ok(());
        }
        let message = format!(
            "{} does not bear the mark of stack {} any more; nothing was changed. Give it back its tag {}, or set \
             adopt: true",
            part.words(),
            stack.name,
            tag::STACK
        );
        Err(Trouble { class: Class::Terminal, message })
    }

    async fn carry_out(&self, name: &str, what: &BalancerAction) -> Result<(), Trouble> {
        let on = format!("load balancer {name}");
        let elb = &self.clients.elb.write;
        match what {
            BalancerAction::Create { internal, subnet_ids, security_group_ids, listeners, tags, .. } => {
                let groups = Some(security_group_ids.clone()).filter(|groups| !groups.is_empty());
                let listeners = listeners.iter().map(|one| self.listener(&on, one)).collect::<Result<_, _>>()?;
                let request = elb.create_load_balancer().load_balancer_name(name).set_listeners(Some(listeners));
                let request = request.set_subnets(Some(subnet_ids.clone())).set_security_groups(groups);
                let request = request.set_scheme(internal.then(|| "internal".to_owned()));
                let request = request.set_tags(Some(self.marks(&on, tags)?));
                self.call("CreateLoadBalancer", &on).done(request.send().await)
            }
            BalancerAction::Mark { tags, .. } => {
                let request = elb.add_tags().load_balancer_names(name).set_tags(Some(self.marks(&on, tags)?));
                self.call("AddTags", &on).done(request.send().await)
            }
            BalancerAction::SetSubnets { added, removed, .. } => self.set_subnets(name, &on, added, removed).await,
            BalancerAction::SetSecurityGroups { groups, .. } => {
                let request = elb.apply_security_groups_to_load_balancer().load_balancer_name(name);
                let request = request.set_security_groups(Some(groups.clone()));
                self.call("ApplySecurityGroupsToLoadBalancer", &on).done(request.send().await)
            }
            BalancerAction::SetHealthCheck { check, .. } => {
                let request = elb.configure_health_check().load_balancer_name(name);
                let request = request.health_check(self.check(&on, check)?);
                self.call("ConfigureHealthCheck", &on).done(request.send().await)
            }
            BalancerAction::SetDraining { seconds, .. } => {
                let draining = ConnectionDraining::builder().enabled(*seconds > 0);
                let timeout = Some(*seconds).filter(|seconds| *seconds > 0).map(number);
                let draining = draining.set_timeout(timeout).build();
                let attributes = LoadBalancerAttributes::builder().connection_draining(draining).build();
                let request = elb.modify_load_balancer_attributes().load_balancer_name(name);
                let request = request.load_balancer_attributes(attributes);
                self.call("ModifyLoadBalancerAttributes", &on).done(request.send().await)
            }
            BalancerAction::CreateListener { listener, .. } => {
                let request = elb.create_load_balancer_listeners().load_balancer_name(name);
                let request = request.listeners(self.listener(&on, listener)?);
                self.call("CreateLoadBalancerListeners", &on).done(request.send().await)
            }
            BalancerAction::ModifyListener { listener, .. } => {
                let request = elb.set_load_balancer_listener_ssl_certificate().load_balancer_name(name);
                let request = request.load_balancer_port(i32::from(listener.port));
                let request = request.set_ssl_certificate_id(listener.certificate_arn.clone());
                self.call("SetLoadBalancerListenerSSLCertificate", &on).done(request.send().await)
            }
            BalancerAction::DeleteListener { port, .. } => {
                let request = elb.delete_load_balancer_listeners().load_balancer_name(name);
                let request = request.load_balancer_ports(i32::from(*port));
                self.call("DeleteLoadBalancerListeners", &on).done(request.send().await)
            }
            BalancerAction::Delete { .. } => self.delete(name, &on).await,
            BalancerAction::CreateGroup { .. } => {
                Err(Trouble { class: Class::Terminal, message: format!("{on}: a classic one has no target groups") })
            }
        }
    }

    /// New ones first: in between it is in more subnets, never in fewer.
    async fn set_subnets(&self, name: &str, on: &str, added: &[String], removed: &[String]) -> Result<(), Trouble> {
        let elb = &self.clients.elb.write;
        if !added.is_empty() {
            let request = elb.attach_load_balancer_to_subnets().load_balancer_name(name);
            let answer = request.set_subnets(Some(added.to_vec())).send().await;
            self.call("AttachLoadBalancerToSubnets", on).done(answer)?;
        }
        if !removed.is_empty() {
            let request = elb.detach_load_balancer_from_subnets().load_balancer_name(name);
            let answer = request.set_subnets(Some(removed.to_vec())).send().await;
            self.call("DetachLoadBalancerFromSubnets", on).done(answer)?;
        }
        Ok(())
    }

    /// Only while nothing is registered.
    async fn delete(&self, name: &str, on: &str) -> Result<(), Trouble> {
        let told = describe(self, &[name.to_owned()]).await.remove(name).unwrap_or(Ok(None))?;
        let Some(told) = told else { return Ok(()) };
        if let Some(targets) = registered(told.instances().len()) {
            let said = format!("{targets}; it is deleted when none is");
            return Err(self.call("DeleteLoadBalancer", on).own(Class::Transient, said));
        }
        let request = self.clients.elb.write.delete_load_balancer().load_balancer_name(name);
        self.call("DeleteLoadBalancer", on).done(request.send().await)
    }

    fn listener(&self, on: &str, listener: &spec::balancer::Listener) -> Result<Listener, Trouble> {
        let built = Listener::builder()
            .protocol(&listener.protocol)
            .load_balancer_port(i32::from(listener.port))
            .instance_protocol(&listener.instance_protocol)
            .instance_port(i32::from(listener.instance_port))
            .set_ssl_certificate_id(listener.certificate_arn.clone())
            .build();
        built.map_err(|error| self.not_sent(on, &error))
    }

    fn check(&self, on: &str, check: &Check) -> Result<HealthCheck, Trouble> {
        let path = check.path.as_deref().unwrap_or_default();
        let built = HealthCheck::builder()
            .target(format!("{}:{}{path}", check.protocol, check.port.unwrap_or_default()))
            .interval(number(check.interval))
            .timeout(number(check.timeout))
            .healthy_threshold(number(check.healthy))
            .unhealthy_threshold(number(check.unhealthy))
            .build();
        built.map_err(|error| self.not_sent(on, &error))
    }

    fn marks(&self, on: &str, tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, Trouble> {
        let mark = |(key, value)| Tag::builder().key(key).value(value).build();
        tags.iter().map(mark).collect::<Result<_, _>>().map_err(|error| self.not_sent(on, &error))
    }

    /// A request that cannot even be made.
    fn not_sent(&self, on: &str, error: &dyn std::error::Error) -> Trouble {
        Trouble { class: Class::Terminal, message: format!("{on}: {error}; correct the manifest") }
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
