//! Stacks on EC2 that the tests declare. The apps are those of the other provider, to the letter.

use super::fleet::Fleet;
use crate::{ground::GROUND, manifest};

/// A stack with one layer and one app on it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Of the app, and of the other provider.
    pub app: manifest::Manifest,
    pub instance_type: String,
    pub image: String,
    pub subnets: Vec<String>,
    /// `manual` or `replace`
    pub update: String,
    /// Of `/var/lib/docker`, in GiB.
    pub volume: u32,
    /// More of that volume: `, reuse: true`.
    pub volume_more: String,
    /// `{targetGroup: NAME, port: 80}`
    pub balancers: String,
    /// `{transport: tls, …}`
    pub docker: String,
    /// More keys of the stack, each on a line of its own.
    pub more: String,
    name: String,
    group: String,
}

pub const AL2023: &str = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";

impl Manifest {
    /// Instances with one web server each.
    pub fn new(fleet: &Fleet, count: u32) -> Manifest {
        let name = &fleet.name;
        Manifest {
            app: manifest::Manifest::new(name, &fleet.region, count),
            instance_type: "t3.small".into(),
            image: AL2023.into(),
            subnets: fleet.subnets.clone(),
            update: "replace".into(),
            volume: 120,
            volume_more: String::new(),
            balancers: format!("[{{targetGroup: {name}, port: 80}}]"),
            docker: tls(),
            more: String::new(),
            name: name.clone(),
            group: fleet.group_id.clone(),
        }
    }

    pub fn image(mut self, tag: &str) -> Manifest {
        self.app = self.app.image(tag);
        self
    }

    pub fn text(&self) -> String {
        let Manifest {
            app,
            instance_type,
            image,
            update,
            volume,
            volume_more,
            balancers,
            docker,
            more,
            name,
            group,
            ..
        } = self;
        let (count, region, subnets) = (app.count, &app.region, self.subnets.join(", "));
        let app = app.text();
        let (_, app) = app.split_once("---\n").expect("two documents");
        format!(
            r#"apiVersion: evenkeel/v1
kind: Stack
metadata: {{name: {name}}}
spec:
  provider: ec2
  region: {region}
  instanceProfileArn: arn:aws:iam::000000000000:instance-profile/evenkeel-instance
  subnetIds: [{subnets}]
  securityGroupIds: [{group}]
  amiId: {image}
{more}  layers:
    - name: Docker
      shortName: docker
      instances: {{count: {count}, type: {instance_type}}}
      update: {update}
      volumes: [{{mountPoint: /var/lib/docker, size: {volume}GiB, type: gp3{volume_more}}}]
      loadBalancers: {balancers}
      docker: {docker}
---
{app}"#
        )
    }
}

/// Mutual TLS, with the engines' certificate in SSM.
pub fn tls() -> String {
    format!("{{transport: tls, port: 2376, ssmEndpoint: \"{}\"}}", GROUND.endpoint_of_instances())
}

/// A text that has the ids of nowhere in it, with those of the proving ground.
fn edited(text: &str, edits: &[(&str, String)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "there is no {old} in {text}");
        text.replace(old, new)
    })
}

fn subnets(fleet: &Fleet) -> String {
    format!("subnetIds: [{}]", fleet.subnets.join(", "))
}

/// A manifest of the simulator's.
pub fn played(fleet: &Fleet, text: &str) -> String {
    let edits = [
        ("region: eu-west-1", format!("region: {}", fleet.region)),
        ("subnetIds: [subnet-a, subnet-b]", subnets(fleet)),
        ("sg-1", fleet.group_id.clone()),
        ("ami-00000001", AL2023.to_owned()),
        ("{transport: tls, port: 2376}", tls()),
    ];
    edited(text, &edits)
}

/// The documented shop on EC2, from `deploy/examples/`: another Stack, and the App of the other provider to the letter.
pub fn shop(fleet: &Fleet, release: &str, instance_type: &str) -> String {
    let edits = [
        ("metadata: {name: shop}", format!("metadata: {{name: {}}}", fleet.name)),
        ("region: eu-west-1", format!("region: {}", fleet.region)),
        ("subnetIds: [subnet-0a1b2c3d4e5f60718, subnet-0b1c2d3e4f5061728]", subnets(fleet)),
        ("sg-0a1b2c3d4e5f60718", fleet.group_id.clone()),
        ("targetGroup: shop", format!("targetGroup: {}", fleet.name)),
        ("{transport: tls, port: 2376}", tls()),
        ("t3.medium", instance_type.to_owned()),
    ];
    let stack = edited(include_str!("../../../deploy/examples/shop-on-ec2.yaml"), &edits);
    let app = manifest::shop(&fleet.name, &fleet.region, release);
    let (_, app) = app.split_once("\n---\n").expect("two documents");
    format!("{stack}\n---\n{app}")
}
