//! The networks of containers: an app's own, the host's, none.

use std::collections::BTreeMap;

use evenkeel::{
    action::{EngineAction, Run},
    spec::network::Joined,
    world::Class,
};
use serde_json::json;

use super::{Corner, OBEDIENT, run};

impl Corner {
    async fn make_network(&self, name: &str, stack: &str) -> Result<(), evenkeel::world::Trouble> {
        let labels = BTreeMap::from([("evenkeel.stack".to_owned(), stack.to_owned())]);
        self.apply(EngineAction::CreateNetwork { name: name.into(), labels }).await
    }

    async fn remove_network(&self, name: &str, id: &str) -> Result<(), evenkeel::world::Trouble> {
        self.apply(EngineAction::RemoveNetwork { id: id.into(), name: name.into() }).await
    }

    /// Also what an earlier run has left.
    async fn clear_network(&self, name: &str) {
        self.clear().await;
        if let Some(left) = self.see().await.networks.get(name) {
            self.remove_network(name, &left.id).await.unwrap();
        }
    }
}

fn own(network: &str, aliases: &[&str]) -> Joined {
    Joined::Own { name: network.into(), aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect() }
}

#[tokio::test]
async fn on_an_app_s_network_containers_find_each_other_by_replica_and_by_key() {
    const NAME: &str = "evenkeel.test.lan";
    let corner = Corner::new("lan").await;
    corner.clear_network(NAME).await;
    corner.make_network(NAME, "shop").await.unwrap();
    corner.make_network(NAME, "shop").await.unwrap();
    let made = corner.see().await.networks[NAME].clone();
    assert_eq!(made.labels["evenkeel.stack"], "shop");
    assert!(made.users.is_empty());
    assert_eq!(corner.docker(&["network", "ls", "-q", "--filter", &format!("name=^{NAME}$")]).lines().count(), 1);

    let serve = |word: &str| format!("mkdir /srv; echo {word} > /srv/word; exec httpd -f -p 8080 -h /srv");
    let server = |name: &str, alias: &str| Run { network: own(NAME, &[name, alias]), ..run(name, &serve(name)) };
    let first = corner.launch(&server("lan-app0", "lan-app")).await;
    corner.launch(&server("lan-app1", "lan-app")).await;
    assert_eq!(corner.inspect("lan-app0")["HostConfig"]["NetworkMode"], NAME);
    let script = "for name in lan-app0 lan-app1 lan-app; do until wget -qO - http://$name:8080/word; do sleep 0.1; done; \
                  done; exit 5";
    let client = Run { network: own(NAME, &["lan-client0"]), once: true, ..run("lan-client0", script) };
    corner.launch(&client).await;
    let words = corner.until("lan-client0", |seen| seen.last_words.is_some()).await.last_words.unwrap();
    assert!(words.contains("lan-app0\nlan-app1\nlan-app"), "{words}");

    // What is only made, or has ended, is in it as well: it could not be started without.
    corner.create(&Run { network: own(NAME, &[]), ..run("lan-idle0", OBEDIENT) }).await.unwrap();
    let seen = corner.see().await;
    let users: Vec<&str> = (seen.containers.iter())
        .filter(|(_, container)| seen.networks[NAME].users.contains(&container.id))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(users, ["lan-app0", "lan-app1", "lan-client0", "lan-idle0"]);
    let refused = corner.remove_network(NAME, &made.id).await.unwrap_err();
    assert!(refused.message.contains("cannot remove the network evenkeel.test.lan on docker1"), "{refused:?}");

    // The one that takes a replaced one's place answers to its names.
    corner.stop(&first, None, 1).await.unwrap();
    corner.rename(&first, "lan-app0.old").await.unwrap();
    corner.launch(&server("lan-app0", "lan-app")).await;
    let again = Run { network: own(NAME, &["lan-client1"]), once: true, ..run("lan-client1", script) };
    corner.launch(&again).await;
    let words = corner.until("lan-client1", |seen| seen.last_words.is_some()).await.last_words.unwrap();
    assert!(words.contains("lan-app0\nlan-app1\nlan-app"), "{words}");

    corner.clear().await;
    corner.remove_network(NAME, &made.id).await.unwrap();
    corner.remove_network(NAME, &made.id).await.unwrap();
    assert!(!corner.see().await.networks.contains_key(NAME));
}

#[tokio::test]
async fn a_network_of_somebody_else_is_not_taken_for_one_s_own() {
    const NAME: &str = "evenkeel.test.foreign";
    let corner = Corner::new("stranger").await;
    corner.clear_network(NAME).await;
    corner.make_network(NAME, "another").await.unwrap();
    let refused = corner.make_network(NAME, "shop").await.unwrap_err();
    assert_eq!(refused.class, Class::Terminal);
    assert!(refused.message.contains("there is one that Evenkeel did not make"), "{refused:?}");
    corner.clear_network(NAME).await;
}

#[tokio::test]
async fn a_container_has_the_host_s_network_or_none_at_all() {
    let corner = Corner::new("mode").await;
    let script = "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | sort | tr '\\n' ' '; exit 5";
    let with = |network: Joined, name: &str| Run { network, once: true, ..run(name, script) };
    corner.launch(&with(Joined::None, "mode-none0")).await;
    corner.launch(&with(Joined::Host, "mode-host0")).await;
    let words = async |name: &str| corner.until(name, |seen| seen.last_words.is_some()).await.last_words.unwrap();
    let alone = words("mode-none0").await;
    assert!(alone.contains("lo") && !alone.contains("eth0"), "{alone}");
    assert!(words("mode-host0").await.contains("docker0"));
    assert_eq!(corner.inspect("mode-none0")["HostConfig"]["NetworkMode"], json!("none"));
    assert_eq!(corner.inspect("mode-host0")["HostConfig"]["NetworkMode"], json!("host"));
    corner.clear().await;
}

#[tokio::test]
async fn a_container_whose_network_was_removed_while_it_was_down_is_not_in_another_of_that_name() {
    const NAME: &str = "evenkeel.test.lost";
    let corner = Corner::new("lost").await;
    corner.clear_network(NAME).await;
    corner.make_network(NAME, "shop").await.unwrap();
    let id = corner.launch(&Run { network: own(NAME, &["lost0"]), ..run("lost0", OBEDIENT) }).await;
    corner.stop(&id, None, 1).await.unwrap();
    assert!(corner.see().await.networks[NAME].users.contains(&id));
    corner.docker(&["network", "rm", NAME]);
    corner.make_network(NAME, "shop").await.unwrap();
    let refused = corner.start(&id).await.unwrap_err();
    assert!(refused.message.contains("cannot start it on docker1: network"), "{refused:?}");
    assert!(!corner.see().await.networks[NAME].users.contains(&id));
    corner.clear_network(NAME).await;
}
