//! Engines reached over SSH: the stack's key, the host key pinned on first sight, a changed one refused. On an image of
//! Debian's, where there is no Docker until the instance installs it.

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    fleet::beside_others,
    ground::{ACCOUNT, elements},
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_engine_is_reached_over_ssh_and_one_that_shows_another_host_key_is_refused() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2ssh", "il-central-1");
    let fleet = Fleet::bare(name, region, ACCOUNT);
    // An earlier run may have left it; its private key is told only once.
    fleet.ec2("DeleteKeyPair", &[("KeyName", "ec2ssh")]);
    let pair = fleet.ec2("CreateKeyPair", &[("KeyName", "ec2ssh"), ("KeyType", "ed25519")]);
    let key = elements(&pair, "keyMaterial").remove(0).replace("&#10;", "\n").replace("&#xA;", "\n");
    let keys = fleet.dir().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("ec2ssh"), key).unwrap();

    let mut manifest = Manifest::new(&fleet, 1);
    manifest.docker = "{transport: ssh, user: admin}".into();
    manifest.balancers = "[]".into();
    manifest.more = "  sshKeyName: ec2ssh\n".into();
    manifest.image = "resolve:ssm:/aws/service/debian/release/12/latest/amd64".into();
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2", "--ssh-keys", keys.to_str().unwrap()]);
    let status = controller.until_converged(name, &revision, 240).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    let instance = fleet.instance("docker1");
    assert_eq!(instance.containers()["web0"].state, "running");
    let installed = instance.run(&["cat", "/var/log/apt/history.log"]);
    assert!(installed.contains("install docker.io") && installed.contains("containerd"), "{installed}");
    let open = instance.run(&["sh", "-c", "ss -Hltn | awk '{print $4}'"]);
    assert!(!open.contains(":2376"), "the engine listens on its socket alone: {open}");

    // Another host key under the same address.
    instance.run(&["sh", "-c", "rm /etc/ssh/ssh_host_*key* && ssh-keygen -A"]);
    // The session that is open ends too, so that another one must be opened.
    instance.run(&["sh", "-c", "systemctl restart ssh && pkill -f '^sshd: admin' || true"]);
    let refused = |status: &crate::controller::Status| {
        let said = status.conditions("Unobservable");
        said.iter().any(|said| said.starts_with("docker1: ") && said.to_lowercase().contains("host key"))
    };
    controller.until(name, "told that the host key has changed", 90, refused).await;
    assert_eq!(fleet.instance("docker1").ec2_id, instance.ec2_id, "a changed key is no reason to replace an instance");
}
