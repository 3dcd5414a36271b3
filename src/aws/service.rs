//! The names of services, as IAM policies use them.

pub(super) const OPSWORKS: &str = "opsworks";
pub(super) const ELB: &str = "elasticloadbalancing";
pub(super) const ECR: &str = "ecr";
pub(super) const EC2: &str = "ec2";
pub(super) const RDS: &str = "rds";
pub(super) const CLOUDWATCH: &str = "cloudwatch";
pub(super) const SSM: &str = "ssm";
pub(super) const SECRETS_MANAGER: &str = "secretsmanager";
pub(super) const STS: &str = "sts";
