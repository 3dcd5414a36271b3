//! Manifests that the tests declare.

/// Instances without a volume of their own share this machine's disk, and how full that is is no business of the tests.
pub const DISK: &str = "disk: {reserve: 0%, warnAt: 100%}";

/// A stack with one layer and one app on it.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub name: String,
    pub region: String,
    pub count: u32,
    /// The image of the container `web`.
    pub image: String,
    /// More keys of that container, each on a line of its own.
    pub more: String,
    /// More containers.
    pub others: String,
    pub rollout: String,
}

impl Manifest {
    /// Instances with one web server each.
    pub fn new(name: &str, region: &str, count: u32) -> Manifest {
        Manifest {
            name: name.into(),
            region: region.into(),
            count,
            image: "registry.example.com/shop/web:1.0".into(),
            more: String::new(),
            others: String::new(),
            rollout: "{minInService: 1, maxUnavailable: 1, drainTimeout: 30s, settle: 1s}".into(),
        }
    }

    pub fn image(mut self, tag: &str) -> Manifest {
        self.image = format!("registry.example.com/shop/{tag}");
        self
    }

    pub fn text(&self) -> String {
        let Manifest { name, region, count, image, more, others, rollout } = self;
        format!(
            r#"apiVersion: evenkeel/v1
kind: Stack
metadata: {{name: {name}}}
spec:
  provider: opsworks
  region: {region}
  serviceRoleArn: arn:aws:iam::123456789012:role/aws-opsworks-service-role
  instanceProfileArn: arn:aws:iam::123456789012:instance-profile/aws-opsworks-ec2-role
  rootDeviceType: ebs
  layers:
    - name: Docker
      shortName: docker
      instances: {{count: {count}, type: t3.small}}
      loadBalancers: [{{classic: {name}}}]
      docker: {{transport: tls, port: 2376, {DISK}}}
---
apiVersion: evenkeel/v1
kind: App
metadata: {{name: {name} app}}
spec:
  stack: {name}
  layer: docker
  environment: {{APP_TYPE: docker}}
  rollout: {rollout}
  containers:
    - name: web
      image: {image}
      ports: ["80:8080"]
      healthCheck: {{http: /up, port: 8080, interval: 1s, timeout: 2s, retries: 3, startPeriod: 10s}}
      stop: {{signal: SIGTERM, timeout: 20s}}
{more}{others}"#
        )
    }
}

/// The documented topology, from `deploy/examples/shop.yaml`, with another name, in another region, and with another
/// release of the app.
pub fn shop(name: &str, region: &str, release: &str) -> String {
    include_str!("../../deploy/examples/shop.yaml")
        .replace("metadata: {name: shop}", &format!("metadata: {{name: {name}}}"))
        .replace("stack: shop", &format!("stack: {name}"))
        .replace("classic: shop", &format!("classic: {name}"))
        .replace("region: eu-west-1", &format!("region: {region}"))
        .replace("shop/app:1.0", &format!("shop/app:{release}"))
}
