//! `kind: Stack`: what the apps stand on.

use super::{
    Provider, Settings,
    aws::{Seen, Thing},
    cursor::Reader,
    json::Entry,
    layer,
    note::{Kind, Place},
    yaml::{Part, Yaml},
};

/// The image of an instance on EC2, where nothing is known of it: the newest Amazon Linux 2023 ("Reference the latest AMIs
/// using Systems Manager public parameters", Amazon EC2 User Guide).
const IMAGES: &str = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";
/// Where nothing is known.
const REGION: &str = "us-east-1";

/// The stack, and what is known of its apps.
pub(super) struct Ground<'a> {
    pub(super) name: String,
    /// The layer's short name.
    pub(super) layer: String,
    /// `spec`, but for its layers.
    pub(super) parts: Vec<Part>,
    pub(super) layers: Vec<Part>,
    /// Comments above the document.
    pub(super) remarks: Vec<String>,
    /// Something stands there that is made up.
    pub(super) pending: bool,
    pub(super) seen: Option<&'a Seen<'a>>,
    /// The document, where it was there already, and where it begins.
    pub(super) verbatim: Option<(String, Place)>,
}

impl<'a> Ground<'a> {
    /// What AWS told.
    pub(super) fn told(seen: &'a Seen<'a>, settings: &Settings) -> Ground<'a> {
        let (reader, stack) = (seen.reader, seen.stack);
        let name = stack.text("Name").unwrap_or_else(|| settings.fallback_name.clone());
        let short = seen.layer.text("Shortname").unwrap_or_else(|| "docker".to_owned());
        let mut ground = Ground {
            name,
            layer: short,
            parts: Vec::new(),
            layers: Vec::new(),
            remarks: Vec::new(),
            pending: false,
            seen: Some(seen),
            verbatim: None,
        };
        ground.take("provider", word(settings.provider), stack, "Name");
        match stack.text("Region") {
            Some(region) => ground.take("region", &region, stack, "Region"),
            None => ground.made_up(reader, stack, "region", Yaml::Text(REGION.to_owned()), "the stack's region"),
        }
        match settings.provider {
            Provider::Opsworks => ground.opsworks(seen),
            Provider::Ec2 => ground.ec2(seen),
        }
        if let Some(key) = stack.text("DefaultSshKeyName") {
            ground.take("sshKeyName", &key, stack, "DefaultSshKeyName");
        }
        if !seen.others.is_empty() {
            let names: Vec<&str> = seen.others.iter().map(String::as_str).collect();
            let message = format!(
                "the layer {} is imported, and {} not: import again with `--layer` for another one",
                ground.layer,
                crate::spec::problem::list(&names)
            );
            ground.remarks.push(reader.note(Kind::LeftOut, &seen.layer.node.span, message));
        }
        ground.layers.push(layer::told(seen, settings, &mut ground.pending));
        ground
    }

    /// Nothing is known: it is made up, and does nothing until somebody has seen to it.
    pub(super) fn unknown(reader: Reader<'_>, deploy: &Entry, settings: &Settings) -> Ground<'a> {
        let name = settings.stack.clone().unwrap_or_else(|| settings.fallback_name.clone());
        let short = settings.layer.clone().unwrap_or_else(|| "docker".to_owned());
        let message = "a Stack JSON does not tell of the AWS side: add it with `--stack-from`, or fill in what is marked; until \
                       then the stack is suspended";
        let remarks = vec![reader.note(Kind::Decide, &deploy.key_span, message)];
        let place = reader.place(&deploy.key_span);
        let mut parts = vec![
            Part::text("provider", word(settings.provider)).from(place.clone()),
            Part::text("region", REGION).from(place.clone()).remark(["decide: the region".to_owned()]),
        ];
        match settings.provider {
            Provider::Opsworks => parts.push(Part::text("rootDeviceType", "ebs").from(place.clone()).remark([
                "decide: OpsWorks needs `serviceRoleArn` and `instanceProfileArn` to make a stack".to_owned(),
            ])),
            Provider::Ec2 => parts.extend(made_up_network(&place)),
        }
        let layers = vec![layer::unknown(&short, &place)];
        Ground { name, layer: short, parts, layers, remarks, pending: true, seen: None, verbatim: None }
    }

    fn take(&mut self, key: &str, value: &str, thing: Thing<'_>, from: &str) {
        let Some(seen) = self.seen else { return };
        let node = thing.get(from).map_or(thing.node, |it| it.node);
        self.parts.push(Part::text(key, value).from(seen.reader.place(&node.span)));
    }

    fn made_up(&mut self, reader: Reader<'_>, thing: Thing<'_>, key: &str, value: Yaml, what: &str) {
        let message =
            format!("{what} is not known: what stands here is made up, and the stack is suspended until it is right");
        let remark = reader.note(Kind::Decide, &thing.node.span, message);
        self.parts.push(Part::new(key, value).from(reader.place(&thing.node.span)).remark([remark]));
        self.pending = true;
    }

    fn opsworks(&mut self, seen: &Seen<'_>) {
        let stack = seen.stack;
        let keys = [
            ("serviceRoleArn", "ServiceRoleArn"),
            ("instanceProfileArn", "DefaultInstanceProfileArn"),
            ("vpcId", "VpcId"),
            ("rootDeviceType", "DefaultRootDeviceType"),
        ];
        for (key, from) in keys {
            if let Some(value) = stack.text(from) {
                self.take(key, &value, stack, from);
            }
        }
        if let Some(subnet) = stack.text("DefaultSubnetId") {
            self.parts.push(Part::texts("subnetIds", [subnet]).from(seen.reader.place(&stack.node.span)));
        }
        self.parts.extend(cookbooks(seen));
        let message = "the stack is there already: with `adopt: true` Evenkeel takes it over, and its layer, apps and containers \
                       of the same names; without, it says `Conflict` and leaves them alone";
        self.remarks.push(seen.reader.note(Kind::Decide, &stack.node.span, message));
        let message = "Evenkeel speaks to the engine of each instance: have a setup recipe make it listen on 2376 with the \
                       certificates of `evenkeel certs`, or declare `docker: {transport: ssh, user: …}` in the layer";
        self.remarks.push(seen.reader.note(Kind::Decide, &seen.layer.node.span, message));
    }

    fn ec2(&mut self, seen: &Seen<'_>) {
        let (reader, stack) = (seen.reader, seen.stack);
        let span = &stack.node.span;
        let profile = seen.layer.text("CustomInstanceProfileArn").or_else(|| stack.text("DefaultInstanceProfileArn"));
        match profile {
            Some(arn) => {
                let message = "instances read their certificate from Parameter Store: give the role of this profile the policy \
                               iam/instance.json";
                let remark = reader.note(Kind::Decide, span, message);
                self.parts.push(Part::text("instanceProfileArn", arn).from(reader.place(span)).remark([remark]));
            }
            None => {
                let arn = Yaml::Text(PROFILE.to_owned());
                self.made_up(reader, stack, "instanceProfileArn", arn, "the instances' profile");
            }
        }
        let mut subnets: Vec<String> =
            seen.instances.iter().flatten().filter_map(|instance| instance.text("SubnetId")).collect();
        subnets.extend(stack.text("DefaultSubnetId"));
        subnets.sort();
        subnets.dedup();
        match subnets.is_empty() {
            false => {
                let message = "new instances are spread over the subnets that OpsWorks' are in: more of them, in other zones, \
                               are better";
                let remark = reader.note(Kind::Decide, span, message);
                self.parts.push(Part::texts("subnetIds", subnets).from(reader.place(span)).remark([remark]));
            }
            true => {
                let subnets = Yaml::List(vec![Part::item(Yaml::Text(SUBNET.to_owned()))]);
                self.made_up(reader, stack, "subnetIds", subnets, "the subnet of the instances");
            }
        }
        let kind = layer::instance_type(seen).map(|(kind, _)| kind).unwrap_or_default();
        let message = "OpsWorks chose the image of its instances: these are launched from the newest Amazon Linux 2023. Ubuntu \
                       and Debian will do as well, and an `ami-…` of your own";
        let remark = reader.note(Kind::Decide, span, message);
        let image = format!("{IMAGES}{}", if is_arm(&kind) { "arm64" } else { "x86_64" });
        self.parts.push(Part::text("amiId", image).from(reader.place(span)).remark([remark]));
        let message = "instances are new ones, on EC2 itself: what lies in data volumes, on the EBS volumes and in the images of \
                       OpsWorks' instances does not move along; let these go once the new ones serve";
        self.remarks.push(reader.note(Kind::Changed, span, message));
        if cookbooks(seen).is_some() {
            let message = "no Chef cookbook is run on EC2: the bootstrap installs Docker, and what else the recipes did belongs \
                           into a container or the image (`amiId`)";
            self.remarks.push(reader.note(Kind::Replaced, span, message));
        }
    }
}

const PROFILE: &str = "arn:aws:iam::000000000000:instance-profile/FILL-IN";
const SUBNET: &str = "subnet-FILL-IN";

fn made_up_network(place: &Place) -> Vec<Part> {
    let decide = |what: &str| [format!("decide: {what}")];
    let profile = Part::text("instanceProfileArn", PROFILE);
    let subnets = Part::texts("subnetIds", [SUBNET]);
    let image = Part::text("amiId", format!("{IMAGES}x86_64"));
    vec![
        profile.from(place.clone()).remark(decide("the profile, with the policy iam/instance.json")),
        subnets.from(place.clone()).remark(decide("the subnets, in several zones; `securityGroupIds` besides")),
        image.from(place.clone()).remark(decide("the image; this is the newest Amazon Linux 2023")),
    ]
}

fn word(provider: Provider) -> &'static str {
    match provider {
        Provider::Opsworks => "opsworks",
        Provider::Ec2 => "ec2",
    }
}

/// `t4g`, `m6gd`, `a1`: the families with AWS's own processors ("Instance types", Amazon EC2 User Guide).
fn is_arm(kind: &str) -> bool {
    let family = kind.split('.').next().unwrap_or_default();
    let after =
        family.trim_start_matches(|c: char| c.is_ascii_lowercase()).trim_start_matches(|c: char| c.is_ascii_digit());
    family == "a1" || after.contains('g')
}

fn cookbooks(seen: &Seen<'_>) -> Option<Part> {
    let stack = seen.stack;
    if !stack.is("UseCustomCookbooks") {
        return None;
    }
    let source = stack.get("CustomCookbooksSource")?;
    let url = source.text("Url")?;
    let mut parts = vec![Part::text("url", url)];
    parts.extend(source.text("Revision").map(|revision| Part::text("revision", revision)));
    if let Some(chef) = stack.get("ChefConfiguration").filter(|chef| chef.is("ManageBerkshelf")) {
        parts.push(Part::word("manageBerkshelf", true));
        parts.extend(chef.text("BerkshelfVersion").map(|version| Part::text("berkshelfVersion", version)));
    }
    Some(Part::new("cookbooks", Yaml::Map(parts)).from(seen.reader.place(&source.node.span)))
}

#[cfg(test)]
mod tests {
    use super::is_arm;

    #[test]
    fn the_image_is_for_the_instances_processor() {
        for kind in ["t4g.small", "m6gd.large", "c7gn.xlarge", "a1.medium", "im4gn.large"] {
            assert!(is_arm(kind), "{kind}");
        }
        for kind in ["t3.small", "g4dn.xlarge", "m5.large", "g5.xlarge", "x2iedn.large", ""] {
            assert!(!is_arm(kind), "{kind}");
        }
    }
}
