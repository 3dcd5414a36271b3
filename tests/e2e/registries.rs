//! A registry that asks who pulls: the real one, with htpasswd.

use std::{collections::BTreeMap, fs};

use serde_json::json;

use super::{
    controller::Status,
    ec2,
    fleet::{Fleet, beside_others},
    ground::{ACCOUNT, GROUND, Instance, SHARED},
    load::Load,
    manifest::Manifest,
    place::Place,
    secrets::texts,
};

/// The same images as its neighbour's, for the user `shop` with the password `secret`.
const HOST: &str = "registry.example.com:5443";
const WRONG: &str = "wr0ng?>~s3cr3t";

fn put_password(place: &impl Place, password: &str) {
    let request = json!({"Name": "/registry/password", "Value": password, "Type": "SecureString", "Overwrite": true});
    GROUND.json("ssm", "AmazonSSM.PutParameter", place.region(), ACCOUNT, request);
}

/// The image of every instance's container, and which container it is.
fn seen(place: &impl Place) -> BTreeMap<String, (String, String)> {
    let instances = place.instances().into_iter();
    let web = |(host, instance): (String, Instance)| (host, instance.containers()["web0"].clone());
    instances.map(web).map(|(host, web)| (host, (web.image, web.id))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_login_goes_with_the_pull_and_a_wrong_password_is_one_condition_that_stops_nothing() {
    let _turn = beside_others().await;
    // The authority that vouches for the registry is put on instances of OpsWorks by their operator.
    let vouch = |instance: &Instance| {
        let of = "/etc/docker/certs.d/registry.example.com";
        instance.run(&["sh", "-c", &format!("mkdir -p {of}:5443 && cp {of}/ca.crt {of}:5443/ca.crt")]);
    };
    a_login_goes_with_the_pull(&Fleet::new("registries", "us-west-2"), vouch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_login_goes_with_the_pull_and_a_wrong_password_is_one_condition_that_stops_nothing() {
    let _turn = beside_others().await;
    // Instances of EC2 were born with it.
    a_login_goes_with_the_pull(&ec2::fleet::Fleet::new("ec2registries", SHARED), |_| ()).await;
}

/// `vouch` puts the registry's authority on an instance, where nothing else does.
async fn a_login_goes_with_the_pull<P: Place>(place: &P, vouch: impl Fn(&Instance)) {
    let name = place.name();
    put_password(place, WRONG);
    let ca = fs::read_to_string(GROUND.state.join("pki/ca.pem")).unwrap().replace('\n', "\n        ");
    let authority = format!("  registries:\n    \"{HOST}\":\n      ca: |\n        {}\n  layers:", ca.trim_end());
    let login =
        format!("  registries: {{\"{HOST}\": {{username: shop, password: {{ssm: /registry/password}}}}}}\n  rollout:");
    let mut manifest = place.manifest(2);
    let text =
        |manifest: &Manifest| place.text(manifest).replace("  layers:", &authority).replace("  rollout:", &login);
    let revision = place.commit(&text(&manifest));
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = place.start_with(&fast, &[("EVENKEEL_LOG", "trace")]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let before = seen(place);

    place.instances().values().for_each(vouch);
    let load = Load::on(&place.address());
    manifest.image = format!("{HOST}/shop/web:1.1");
    let revision = place.commit(&text(&manifest));
    let told = |status: &Status| status.revision() == revision && !status.conditions("ImageUnavailable").is_empty();
    let status = controller.until(name, "told that the password is wrong", 60, told).await;
    let said = status.conditions("ImageUnavailable");
    assert_eq!(said.len(), 1, "{said:?}");
    let no_image = format!("{name} app/web: no image registry.example.com:5443/shop/web:1.1");
    for words in [&no_image, "check the username and password"] {
        assert!(said[0].contains(words), "{words}: {said:?}");
    }
    assert_eq!(seen(place), before);

    put_password(place, "secret");
    controller.until_converged(name, &revision, 120).await;
    assert!(seen(place).values().all(|(image, _)| *image == manifest.image), "{:?}", seen(place));
    load.end().await.assert_none_lost(300);
    place.assert_in_service(2);

    for (what, text) in texts(place) {
        assert!(!text.contains(WRONG), "{what} tells the password");
    }
    for instance in place.instances().values() {
        let found =
            instance.run(&["sh", "-c", "ls /root/.docker/config.json /etc/docker/config.json 2>/dev/null || true"]);
        assert_eq!(found, "", "a login was left on the instance");
    }
}
