//! A registry that asks who pulls: the real one, with htpasswd.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    controller::Status,
    fleet::{Fleet, beside_others},
    ground::{ACCOUNT, GROUND},
    load::Load,
    manifest::Manifest,
    place::Place,
    secrets::texts,
};

const REGION: &str = "us-west-2";
/// The same images as its neighbour's, for the user `shop` with the password `secret`.
const HOST: &str = "registry.example.com:5443";
const WRONG: &str = "wr0ng?>~s3cr3t";

fn put_password(password: &str) {
    let request = json!({"Name": "/registry/password", "Value": password, "Type": "SecureString", "Overwrite": true});
    GROUND.json("ssm", "AmazonSSM.PutParameter", REGION, ACCOUNT, request);
}

/// The image of every instance's container, and which container it is.
fn seen(fleet: &Fleet) -> BTreeMap<String, (String, String)> {
    let instances = fleet.instances().into_iter();
    let web = |(host, instance): (String, super::ground::Instance)| (host, instance.containers()["web0"].clone());
    instances.map(web).map(|(host, web)| (host, (web.image, web.id))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_goes_with_the_pull_and_a_wrong_password_is_one_condition_that_stops_nothing() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("registries", REGION);
    put_password(WRONG);
    let registries =
        format!("  registries: {{\"{HOST}\": {{username: shop, password: {{ssm: /registry/password}}}}}}\n  rollout:");
    let mut manifest = Manifest::new("registries", REGION, 2);
    let text = |manifest: &Manifest| manifest.text().replace("  rollout:", &registries);
    let revision = fleet.commit(&text(&manifest));
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = fleet.start_with(&fast, &[("EVENKEEL_LOG", "trace")]);
    controller.until_converged("registries", &revision, 150).await;
    let before = seen(&fleet);

    // The authority that vouches for the registry is put on instances of OpsWorks by their operator.
    for instance in fleet.instances().values() {
        let of = "/etc/docker/certs.d/registry.example.com";
        instance.run(&["sh", "-c", &format!("mkdir -p {of}:5443 && cp {of}/ca.crt {of}:5443/ca.crt")]);
    }
    let load = Load::on(&fleet.address());
    manifest.image = format!("{HOST}/shop/web:1.1");
    let revision = fleet.commit(&text(&manifest));
    let told = |status: &Status| status.revision() == revision && !status.conditions("ImageUnavailable").is_empty();
    let status = controller.until("registries", "told that the password is wrong", 60, told).await;
    let said = status.conditions("ImageUnavailable");
    assert_eq!(said.len(), 1, "{said:?}");
    for words in
        ["registries app/web: no image registry.example.com:5443/shop/web:1.1", "check the username and password"]
    {
        assert!(said[0].contains(words), "{words}: {said:?}");
    }
    assert_eq!(seen(&fleet), before);

    put_password("secret");
    controller.until_converged("registries", &revision, 120).await;
    assert!(seen(&fleet).values().all(|(image, _)| *image == manifest.image), "{:?}", seen(&fleet));
    load.end().await.assert_none_lost(300);
    fleet.assert_in_service(2);

    for (what, text) in texts(&fleet) {
        assert!(!text.contains(WRONG), "{what} tells the password");
    }
    for instance in fleet.instances().values() {
        let found =
            instance.run(&["sh", "-c", "ls /root/.docker/config.json /etc/docker/config.json 2>/dev/null || true"]);
        assert_eq!(found, "", "a login was left on the instance");
    }
}
