//! The AWS side.

use super::{Imported, Options, declared, import, told};
use crate::spec::{
    File,
    app::DataSource,
    stack::{LoadBalancer, Provider},
};

const JSON: &str = r#"{"deploy": {"shop": {"containers": [{"app": {"image": "x", "deploy": "auto"}}]}}}"#;
/// As `describe-stacks` and the others print it, shortened.
const AWS: &str = r#"
{"Stacks": [{"StackId": "s-1", "Name": "my shop", "Region": "eu-west-1", "VpcId": "vpc-1",
  "ServiceRoleArn": "arn:aws:iam::123456789012:role/service",
  "DefaultInstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/instance", "DefaultSubnetId": "subnet-1",
  "DefaultSshKeyName": "ops", "DefaultRootDeviceType": "ebs", "UseCustomCookbooks": true,
  "CustomCookbooksSource": {"Type": "git", "Url": "https://example.com/cookbooks.git", "Revision": "1.10"},
  "ChefConfiguration": {"ManageBerkshelf": true, "BerkshelfVersion": "3.2.0"}}]}
{"Layers": [
  {"LayerId": "l-1", "StackId": "s-1", "Type": "custom", "Name": "Docker", "Shortname": "docker",
   "CustomSecurityGroupIds": ["sg-1"],
   "VolumeConfigurations": [{"MountPoint": "/var/lib/docker", "NumberOfDisks": 1, "Size": 120, "VolumeType": "gp2"},
                            {"MountPoint": "/data", "NumberOfDisks": 2, "Size": 10, "VolumeType": "io1", "Iops": 500, "Encrypted": true}],
   "CustomRecipes": {"Setup": ["docker::install", "docker::registries", "ours::tools"], "Configure": [],
                     "Deploy": ["docker::data_volumes", "docker::deploy"], "Undeploy": [], "Shutdown": ["ours::bye"]}},
  {"LayerId": "l-2", "StackId": "s-1", "Type": "db-master", "Name": "MySQL", "Shortname": "db-master"}]}
{"Instances": [
  {"StackId": "s-1", "LayerIds": ["l-1"], "InstanceType": "t3.large", "SubnetId": "subnet-2", "Status": "online"},
  {"StackId": "s-1", "LayerIds": ["l-1"], "InstanceType": "t3.large", "SubnetId": "subnet-1", "SecurityGroupIds": ["sg-own", "sg-1"],
   "Status": "online"},
  {"StackId": "s-1", "LayerIds": ["l-1"], "InstanceType": "t3.large", "AutoScalingType": "load", "Status": "stopped"},
  {"StackId": "s-1", "LayerIds": ["l-2"], "InstanceType": "m1.small", "Status": "online"}]}
{"Apps": [{"StackId": "s-1", "Name": "The Shop", "Shortname": "shop", "Type": "other",
  "DataSources": [{"Type": "RdsDbInstance", "Arn": "arn:aws:rds:eu-west-1:123456789012:db:shop-db", "DatabaseName": "shop"}],
  "Environment": [{"Key": "APP_TYPE", "Value": "docker", "Secure": false}, {"Key": "PLAIN", "Value": "yes"},
                  {"Key": "SALT", "Value": "*****FILTERED*****", "Secure": true}]}]}
{"ElasticLoadBalancers": [{"ElasticLoadBalancerName": "shop", "StackId": "s-1", "LayerId": "l-1"},
                          {"ElasticLoadBalancerName": "other", "StackId": "s-1", "LayerId": "l-2"}]}
{"Volumes": []}
"#;

fn from(aws: &str, provider: Provider) -> Result<Imported, Vec<String>> {
    let options = Options { provider: Some(provider), ..Options::default() };
    chosen(aws, &options)
}

fn chosen(aws: &str, options: &Options) -> Result<Imported, Vec<String>> {
    import(File::new("stack.json", JSON), Some(File::new("aws.json", aws)), options)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_stack_is_taken_over() {
    let imported = from(AWS, Provider::Opsworks).unwrap();
    let stack = declared(&imported.manifests).stack;
    assert_eq!(
        (stack.name.as_str(), stack.region.as_str(), stack.provider),
        ("my shop", "eu-west-1", Provider::Opsworks)
    );
    assert_eq!(stack.service_role_arn.as_deref(), Some("arn:aws:iam::123456789012:role/service"));
    assert_eq!(stack.instance_profile_arn.as_deref(), Some("arn:aws:iam::123456789012:instance-profile/instance"));
    assert_eq!((stack.vpc_id.as_deref(), stack.subnet_ids), (Some("vpc-1"), vec!["subnet-1".to_owned()]));
    assert_eq!((stack.root_device_type.as_deref(), stack.ssh_key_name.as_deref()), (Some("ebs"), Some("ops")));
    let cookbooks = stack.cookbooks.unwrap();
    assert_eq!(
        (cookbooks.url.as_str(), cookbooks.revision.as_deref()),
        ("https://example.com/cookbooks.git", Some("1.10"))
    );
    assert!(cookbooks.manage_berkshelf && cookbooks.berkshelf_version.as_deref() == Some("3.2.0"));
    assert!(!stack.suspend && !stack.adopt);
    assert!(told(&imported.notes).iter().any(|note| note.contains("`adopt: true`")));
}

#[test]
fn the_layer_is_taken_over() {
    let imported = from(AWS, Provider::Opsworks).unwrap();
    let layer = declared(&imported.manifests).stack.layers.remove(0);
    assert_eq!((layer.name.as_str(), layer.short_name.as_str()), ("Docker", "docker"));
    assert_eq!((layer.instances.count, layer.instances.instance_type.as_str()), (2, "t3.large"));
    assert_eq!(layer.security_group_ids, ["sg-1"]);
    assert_eq!(layer.load_balancers, [LoadBalancer::Classic("shop".into())]);
    let notes = told(&imported.notes);
    assert!(notes.iter().any(|note| note.starts_with("decide: 2 of 3 instances run")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("the layer docker is imported, and `db-master` not")), "{notes:?}");
}

#[test]
fn what_holds_for_one_instance_or_is_the_layer_s_own_affair_is_told_beside_it() {
    let one = AWS.replace(
        r#""LayerIds": ["l-1"], "InstanceType": "t3.large", "SubnetId": "subnet-2""#,
        r#""LayerIds": ["l-3"]"#,
    );
    let one =
        one.replace(r#""Name": "Docker", "#, r#""Name": "Docker", "CustomJson": "{}", "EnableAutoHealing": false, "#);
    let imported = from(&one, Provider::Ec2).unwrap();
    assert_eq!(declared(&imported.manifests).stack.layers[0].instances.count, 1);
    for words in
        ["# decide: there is one instance", "# decide: the layer has a Custom JSON", "# changed: auto healing was off"]
    {
        assert!(imported.manifests.contains(words), "{words}: {}", imported.manifests);
    }
}

#[test]
fn rules_for_scaling_are_told_in_the_words_of_a_manifest() {
    let rules = r#"{"LoadBasedAutoScalingConfigurations": [{"LayerId": "l-1", "Enable": true,
      "UpScaling": {"InstanceCount": 1, "ThresholdsWaitTime": 5, "IgnoreMetricsTime": 5, "CpuThreshold": 80.0, "MemoryThreshold": -1.0},
      "DownScaling": {"InstanceCount": 2, "ThresholdsWaitTime": 10, "IgnoreMetricsTime": 15, "CpuThreshold": 30.5, "LoadThreshold": -1}}]}"#;
    let notes = told(&from(&format!("{AWS}{rules}"), Provider::Opsworks).unwrap().notes);
    let told = "min: 2, max: 3, load: {up: {cpu: 80, for: 5m, coolDown: 5m, count: 1}, \
                down: {cpu: 30.5, for: 10m, coolDown: 15m, count: 2}}";
    assert!(
        notes.iter().any(|note| note.starts_with("decide: the layer scaled by load") && note.ends_with(told)),
        "{notes:#?}"
    );
}

#[test]
fn the_volumes_of_the_layer_are_taken_over() {
    let imported = from(AWS, Provider::Opsworks).unwrap();
    let volumes = declared(&imported.manifests).stack.layers.remove(0).volumes;
    let seen: Vec<_> =
        volumes.iter().map(|it| (it.mount_point.as_str(), it.size_gib, it.volume_type.as_str())).collect();
    assert_eq!(seen, [("/var/lib/docker", 120, "gp2"), ("/data", 20, "io1")]);
    assert_eq!((volumes[1].iops, volumes[1].encrypted), (Some(500), Some(true)));
    assert!(told(&imported.notes).iter().any(|note| note.starts_with("decide: 2 disks of 10 GiB were one RAID")));
}

#[test]
fn recipes_whose_work_evenkeel_does_are_not_run() {
    let imported = from(AWS, Provider::Opsworks).unwrap();
    let recipes = declared(&imported.manifests).stack.layers.remove(0).recipes;
    assert_eq!(
        (recipes.setup, recipes.shutdown),
        (vec!["docker::install".into(), "ours::tools".into()], vec!["ours::bye".into()])
    );
    assert!(recipes.deploy.is_empty());
    let replaced: Vec<String> =
        told(&imported.notes).into_iter().filter(|note| note.starts_with("replaced: ")).collect();
    assert_eq!(replaced.len(), 3, "{replaced:?}");
}

#[test]
fn the_app_has_its_name_environment_and_data_source() {
    let imported = from(AWS, Provider::Opsworks).unwrap();
    let app = declared(&imported.manifests).apps.remove(0);
    assert_eq!(app.name, "The Shop");
    assert_eq!(
        app.environment.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        ["APP_TYPE=docker", "PLAIN=yes"]
    );
    assert!(matches!(&app.data_source, Some(DataSource::Rds { instance, database: Some(database), .. })
        if instance.ends_with(":db:shop-db") && database == "shop"));
    assert!(told(&imported.notes).iter().any(|note| note.contains("protected variable `SALT`")));
}

#[test]
fn a_server_of_opsworks_own_stays_the_app_s_data_source() {
    let aws = AWS.replace("\"RdsDbInstance\"", "\"AutoSelectOpsworksMysqlInstance\"");
    let app = declared(&from(&aws, Provider::Opsworks).unwrap().manifests).apps.remove(0);
    assert_eq!(app.data_source, Some(DataSource::Opsworks { database: Some("shop".into()) }));
    assert_eq!(declared(&from(&aws, Provider::Ec2).unwrap().manifests).apps.remove(0).data_source, None);
}

#[test]
fn an_app_that_was_skipped_is_left_alone_until_somebody_decides() {
    let imported = from(&AWS.replace("\"APP_TYPE\"", "\"OTHER\""), Provider::Ec2).unwrap();
    assert!(!declared(&imported.manifests).apps[0].is_docker());
    assert!(told(&imported.notes).iter().any(|note| note.starts_with("decide: the app has no `APP_TYPE=docker`")));
}

#[test]
fn on_ec2_it_is_the_same_fleet_without_chef() {
    let imported = from(AWS, Provider::Ec2).unwrap();
    let stack = declared(&imported.manifests).stack;
    assert_eq!((stack.provider, stack.suspend), (Provider::Ec2, false));
    let layer = &stack.layers[0];
    assert_eq!(layer.subnet_ids, ["subnet-1", "subnet-2"]);
    assert!(layer.image.as_deref().unwrap().ends_with("al2023-ami-kernel-default-x86_64"));
    assert_eq!(
        (&layer.security_group_ids, layer.recipes.setup.len(), &stack.cookbooks),
        (&vec!["sg-1".to_owned(), "sg-own".to_owned()], 0, &None)
    );
    assert_eq!(layer.load_balancers, [LoadBalancer::Classic("shop".into())]);
    let notes = told(&imported.notes);
    for words in
        ["launched from the newest Amazon Linux 2023", "iam/instance.json", "does not move along", "no Chef cookbook"]
    {
        assert!(notes.iter().any(|note| note.contains(words)), "{words}: {notes:#?}");
    }
}

#[test]
fn what_is_not_known_is_made_up_and_suspended() {
    let little = r#"{"Stacks": [{"Name": "shop", "Region": "eu-west-1"}], "Layers": [{"Shortname": "docker"}]}"#;
    for provider in [Provider::Opsworks, Provider::Ec2] {
        let imported = from(little, provider).unwrap();
        let stack = declared(&imported.manifests).stack;
        assert!(stack.suspend, "{}", imported.manifests);
        assert!(imported.manifests.contains("# decide: take this out when everything that is made up is right"));
        assert!(told(&imported.notes).iter().any(|note| note.starts_with("decide: no instance of the layer is known")));
        let nothing =
            import(File::new("my shop.json", JSON), None, &Options { provider: Some(provider), ..Options::default() });
        let stack = declared(&nothing.unwrap().manifests).stack;
        assert_eq!(
            (stack.name.as_str(), stack.suspend, stack.layers[0].short_name.as_str()),
            ("my-shop", true, "docker")
        );
        assert_eq!(stack.layers[0].volumes[0].size_gib, 120);
    }
}

#[test]
fn the_stack_and_the_layer_that_are_meant_can_be_said() {
    let two = r#"{"Stacks": [{"StackId": "a", "Name": "one", "Region": "r"}, {"StackId": "b", "Name": "two", "Region": "r"}],
      "Layers": [{"StackId": "a", "LayerId": "1", "Shortname": "docker"}, {"StackId": "b", "LayerId": "2", "Shortname": "web"},
                 {"StackId": "b", "LayerId": "3", "Shortname": "jobs"}],
      "Instances": [{"StackId": "b", "LayerIds": ["3"], "InstanceType": "t3.nano"}]}"#;
    let options = |stack: Option<&str>, layer: Option<&str>| Options {
        provider: None,
        stack: stack.map(str::to_owned),
        layer: layer.map(str::to_owned),
    };
    let told = |stack, layer| chosen(two, &options(stack, layer)).unwrap_err()[0].clone();
    assert_eq!(
        told(None, None),
        "aws.json:1:1: the AWS side has several stacks: `one` and `two` (say which with `--stack NAME`)"
    );
    assert!(told(Some("two"), None).contains("several layers: `web` and `jobs` (say which with `--layer SHORTNAME`)"));
    assert!(told(Some("three"), None).contains("no stack `three` (there are `one` and `two`)"));
    let desired = declared(&chosen(two, &options(Some("two"), Some("jobs"))).unwrap().manifests);
    assert_eq!((desired.stack.name.as_str(), desired.apps[0].layer.as_str()), ("two", "jobs"));
    assert_eq!(desired.stack.layers[0].instances.instance_type, "t3.nano");
    let nothing = import(File::new("f", JSON), None, &options(Some("shop"), Some("web"))).unwrap();
    let desired = declared(&nothing.manifests);
    assert_eq!((desired.stack.name.as_str(), desired.apps[0].layer.as_str()), ("shop", "web"));
}

#[test]
fn a_manifest_of_the_stack_is_taken_word_for_word() {
    let yaml = "# ours\napiVersion: evenkeel/v1\nkind: Stack\nmetadata: {name: shop}\nspec:\n  provider: ec2 # moved\n  region: r\n  \
                subnetIds: [s]\n  instanceProfileArn: arn:x\n  amiId: ami-01234567\n  layers:\n    - {shortName: web, instances: {count: 1, type: t3.nano}}\n";
    let json = JSON.replacen('{', r#"{"docker": {"registries": {"quay.io": {"username": "a", "password": "b"}}}, "#, 1);
    let given = |yaml: &str, options: &Options| {
        import(File::new("stack.json", json.as_str()), Some(File::new("stack.yaml", yaml)), options)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let imported = given(yaml, &Options::default()).unwrap();
    assert!(imported.manifests.contains(yaml), "{}", imported.manifests);
    let desired = declared(&imported.manifests);
    assert_eq!((desired.apps[0].stack.as_str(), desired.apps[0].layer.as_str()), ("shop", "web"));
    assert!(desired.apps[0].registries.contains_key("quay.io"));
    let opsworks = Options { provider: Some(Provider::Opsworks), ..Options::default() };
    assert!(given(yaml, &opsworks).unwrap_err()[0].contains("the stack `shop` has another provider"));
    let broken = format!("{}---\n{}", yaml, yaml.replace("name: shop", "name: two").replace("region: r", "regio: r"));
    assert!(
        given(&broken, &Options::default()).unwrap_err()[0]
            .starts_with("stack.yaml:20:3: a stack's `spec` needs `region`")
    );
    let two = format!("{}---\n{}", yaml, yaml.replace("name: shop", "name: two"));
    assert!(given(&two, &Options::default()).unwrap_err()[0].contains("declares several stacks: `shop`, `two`"));
    let second = given(&two, &Options { stack: Some("two".into()), ..Options::default() }).unwrap();
    assert_eq!(declared(&second.manifests).stack.name, "two");
    assert_eq!(given("kind: App\n", &Options::default()).unwrap_err().len(), 3);
}

#[test]
fn what_is_wrong_with_the_aws_side_is_told_at_its_place() {
    let told = |aws: &str| from(aws, Provider::Opsworks).unwrap_err()[0].clone();
    assert!(
        told("{\"Stacks\": []}").contains("the AWS side has no stack (add what `aws opsworks describe-stacks` prints)")
    );
    assert!(told("[1]").starts_with("aws.json:1:1: expected what `aws opsworks describe-…` prints"));
    assert!(told("{\"Stacks\": {}}").starts_with("aws.json:1:12: expected a list of Stacks, found an object"));
    assert!(told("{\"Stacks\": [").starts_with("aws.json:1:"));
    let odd = AWS.replace("\"Region\": \"eu-west-1\"", "\"Region\": \"Mars!\"");
    assert_eq!(told(&odd), "aws.json:2:61: expected a region like `eu-west-1`, found the text \"Mars!\"");
}
