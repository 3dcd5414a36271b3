//! Making load balancers, target groups and listeners, and changing them.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action as Does, ActionTypeEnum, Certificate, LoadBalancerSchemeEnum, LoadBalancerTypeEnum, ProtocolEnum, Tag,
    TargetGroupAttribute, TargetTypeEnum,
};

use super::{Api, Elbv2, owned::registered};
use crate::{
    action::BalancerAction,
    spec::{
        Stack,
        balancer::{BalancerKind, Listener},
    },
    world::{Check, Class, Part, Trouble},
};

impl Elbv2 {
    /// Carries out one action on an owned load balancer that is not a classic one.
    pub(in crate::aws) async fn make(&self, stack: &Stack, name: &str, what: &BalancerAction) -> Result<(), Trouble> {
        let api = self.api(stack).await;
        if let Some(part) = what.touches() {
            api.still_ours(stack, part).await?;
        }
        let made = api.carry_out(stack, name, what).await;
        // Whatever came of it, the next look is a fresh one.
        self.groups.forget(&api.place).await;
        if matches!(what, BalancerAction::Delete { .. }) {
            self.sweeps.forget();
        }
        made
    }
}

impl Api {
    /// The precondition: nothing is touched that bears no mark.
    async fn still_ours(&self, stack: &Stack, part: &Part) -> Result<(), Trouble> {
        if stack.adopt || self.marked(vec![part.id().to_owned()], &stack.name).await?.contains(part.id()) {
            return Ok(());
        }
        let message = format!(
            "{} ({}) does not bear the mark of stack {} any more; nothing was changed. Give it back its tag {}, or set \
             adopt: true",
            part.words(),
            part.id(),
            stack.name,
            crate::world::tag::STACK
        );
        Err(Trouble { class: Class::Terminal, message })
    }

    async fn carry_out(&self, stack: &Stack, name: &str, what: &BalancerAction) -> Result<(), Trouble> {
        match what {
            BalancerAction::Create { kind, internal, subnet_ids, security_group_ids, tags, .. } => {
                let scheme =
                    if *internal { LoadBalancerSchemeEnum::Internal } else { LoadBalancerSchemeEnum::InternetFacing };
                let kind = match kind {
                    BalancerKind::Network => LoadBalancerTypeEnum::Network,
                    _ => LoadBalancerTypeEnum::Application,
                };
                let groups = Some(security_group_ids.clone()).filter(|groups| !groups.is_empty());
                let request = self.clients.elbv2.write.create_load_balancer().name(name).r#type(kind).scheme(scheme);
                let request = request.set_subnets(Some(subnet_ids.clone())).set_security_groups(groups);
                let on = format!("load balancer {name}");
                self.call("CreateLoadBalancer", &on).done(request.set_tags(Some(marks(tags))).send().await)
            }
            BalancerAction::CreateGroup { name, protocol, port, vpc_id, check, tags } => {
                let request = self.clients.elbv2.write.create_target_group().name(name).vpc_id(vpc_id);
                let request = request.protocol(ProtocolEnum::from(protocol.as_str())).port(i32::from(*port));
                let request = request.target_type(TargetTypeEnum::Instance).set_tags(Some(marks(tags)));
                let request = request
                    .health_check_protocol(ProtocolEnum::from(check.protocol.as_str()))
                    .health_check_port(check_port(check))
                    .set_health_check_path(check.path.clone())
                    .health_check_interval_seconds(number(check.interval))
                    .health_check_timeout_seconds(number(check.timeout))
                    .healthy_threshold_count(number(check.healthy))
                    .unhealthy_threshold_count(number(check.unhealthy));
                self.call("CreateTargetGroup", &format!("target group {name}")).done(request.send().await)
            }
            BalancerAction::Mark { part, tags } => {
                let request = self.clients.elbv2.write.add_tags().resource_arns(part.id());
                self.call("AddTags", &part.words()).done(request.set_tags(Some(marks(tags))).send().await)
            }
            BalancerAction::SetSubnets { part, subnet_ids, .. } => {
                let request = self.clients.elbv2.write.set_subnets().load_balancer_arn(part.id());
                self.call("SetSubnets", &part.words()).done(request.set_subnets(Some(subnet_ids.clone())).send().await)
            }
            BalancerAction::SetSecurityGroups { part, groups } => {
                let request = self.clients.elbv2.write.set_security_groups().load_balancer_arn(part.id());
                let request = request.set_security_groups(Some(groups.clone()));
                self.call("SetSecurityGroups", &part.words()).done(request.send().await)
            }
            BalancerAction::SetHealthCheck { part, check, .. } => {
                let request = self.clients.elbv2.write.modify_target_group().target_group_arn(part.id());
                let request = request
                    .health_check_protocol(ProtocolEnum::from(check.protocol.as_str()))
                    .health_check_port(check_port(check))
                    .set_health_check_path(check.path.clone())
                    .health_check_interval_seconds(number(check.interval))
                    .health_check_timeout_seconds(number(check.timeout))
                    .healthy_threshold_count(number(check.healthy))
                    .unhealthy_threshold_count(number(check.unhealthy));
                self.call("ModifyTargetGroup", &part.words()).done(request.send().await)
            }
            BalancerAction::SetDraining { part, seconds } => {
                let delay = TargetGroupAttribute::builder().key(super::DELAY).value(seconds.to_string()).build();
                let request = self.clients.elbv2.write.modify_target_group_attributes().target_group_arn(part.id());
                self.call("ModifyTargetGroupAttributes", &part.words()).done(request.attributes(delay).send().await)
            }
            BalancerAction::CreateListener { part, listener, group } => {
                let request = self.clients.elbv2.write.create_listener().load_balancer_arn(part.id());
                let request = request.port(i32::from(listener.port)).protocol(protocol(listener));
                let request = request.default_actions(forward(group)).set_certificates(certificates(listener));
                let request = request.tags(mark(stack));
                let on = format!("{}, port {}", part.words(), listener.port);
                self.call("CreateListener", &on).done(request.send().await)
            }
            BalancerAction::ModifyListener { part, id, listener, group, .. } => {
                let on = format!("{}, port {}", part.words(), listener.port);
                self.mark_listener(stack, id.as_ref(), &on).await?;
                let request = self.clients.elbv2.write.modify_listener().set_listener_arn(id.clone());
                let request = request.protocol(protocol(listener));
                let request = request.default_actions(forward(group)).set_certificates(certificates(listener));
                self.call("ModifyListener", &on).done(request.send().await)
            }
            BalancerAction::DeleteListener { part, id, port, .. } => {
                let on = format!("{}, port {port}", part.words());
                self.mark_listener(stack, id.as_ref(), &on).await?;
                let request = self.clients.elbv2.write.delete_listener().set_listener_arn(id.clone());
                match request.send().await {
                    Err(error) if error.as_service_error().is_some_and(|e| e.is_listener_not_found_exception()) => {
                        Ok(())
                    }
                    answer => self.call("DeleteListener", &on).done(answer),
                }
            }
            BalancerAction::Delete { part } => self.delete(part).await,
        }
    }

    /// IAM goes by the tags of the listener itself, not by those of its load balancer ("Actions, resources, and condition
    /// keys for Elastic Load Balancing V2"), and that of a load balancer that was taken over, or an earlier one of
    /// Evenkeel's own, bears none. One that is gone is told of by what comes next.
    async fn mark_listener(&self, stack: &Stack, id: Option<&String>, on: &str) -> Result<(), Trouble> {
        let Some(arn) = id else { return Ok(()) };
        let request = self.clients.elbv2.write.add_tags().resource_arns(arn);
        match request.tags(mark(stack)).send().await {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_listener_not_found_exception()) => Ok(()),
            answer => self.call("AddTags", on).done(answer),
        }
    }

    /// Only while nothing is registered, and, of a target group, while nothing forwards to it: that AWS sees to.
    async fn delete(&self, part: &Part) -> Result<(), Trouble> {
        let on = part.words();
        let (operation, arns): (_, Vec<String>) = match part {
            Part::Balancer { id, .. } => {
                let request = self.clients.elbv2.read.describe_target_groups().load_balancer_arn(id).send().await;
                let groups = match request {
                    Ok(answer) => answer.target_groups.unwrap_or_default(),
                    Err(error)
                        if error.as_service_error().is_some_and(|e| e.is_load_balancer_not_found_exception()) =>
                    {
                        return Ok(());
                    }
                    Err(error) => return Err(self.call("DescribeTargetGroups", &on).failed(&error)),
                };
                ("DeleteLoadBalancer", groups.into_iter().filter_map(|group| group.target_group_arn).collect())
            }
            Part::Group { arn, .. } => ("DeleteTargetGroup", vec![arn.clone()]),
        };
        if let Some(targets) = registered(self, &arns).await? {
            let said = format!("{targets}; it is deleted when none is");
            return Err(self.call(operation, &on).own(Class::Transient, said));
        }
        match part {
            Part::Balancer { id, .. } => {
                let request = self.clients.elbv2.write.delete_load_balancer().load_balancer_arn(id);
                self.call(operation, &on).done(request.send().await)
            }
            Part::Group { arn, .. } => {
                let request = self.clients.elbv2.write.delete_target_group().target_group_arn(arn);
                self.call(operation, &on).done(request.send().await)
            }
        }
    }
}

fn mark(stack: &Stack) -> Tag {
    Tag::builder().key(crate::world::tag::STACK).value(&stack.name).build()
}

fn marks(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn check_port(check: &Check) -> String {
    check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string())
}

fn protocol(listener: &Listener) -> ProtocolEnum {
    ProtocolEnum::from(listener.protocol.as_str())
}

fn forward(group: &Option<String>) -> Does {
    Does::builder().r#type(ActionTypeEnum::Forward).set_target_group_arn(group.clone()).build()
}

fn certificates(listener: &Listener) -> Option<Vec<Certificate>> {
    let certificate = |arn: &String| vec![Certificate::builder().certificate_arn(arn).build()];
    listener.certificate_arn.as_ref().map(certificate)
}
