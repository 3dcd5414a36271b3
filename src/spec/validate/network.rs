//! What a container's network makes impossible.

use super::app::Checker;
use crate::spec::{Container, network::Network};

impl Checker<'_> {
    pub(super) fn network(&mut self, containers: &[Container]) {
        let container = self.container;
        let links = "links/0";
        match self.declared.value.network_of(container) {
            Network::Bridge => {}
            Network::Host => {
                let help = "leave `ports` out: what the container listens on is the instance's own port";
                self.excluded(!container.ports.is_empty(), "ports/0", "`network: host` publishes no ports", help);
                let help = "leave `links` out: on the instance's network others are reached by their published ports";
                self.excluded(!container.links.is_empty(), links, "`network: host` has no links", help);
                if let Some(name) = container.options.sysctls.keys().find(|name| name.starts_with("net.")) {
                    let message = format!("with `network: host` the parameter `{name}` would be the instance's");
                    self.excluded(true, &format!("sysctls/{name}"), &message, "set it on the instance");
                }
            }
            Network::None => {
                let help = "leave it out, or choose another `network`";
                self.excluded(!container.ports.is_empty(), "ports/0", "`network: none` publishes no ports", help);
                self.excluded(!container.links.is_empty(), links, "`network: none` has no links", help);
            }
            Network::App => {
                let help = "leave `links` out: containers of the app's network find each other by name, a replica as \
                            `redis0` and all of a container as `redis`";
                self.excluded(!container.links.is_empty(), links, "`network: app` has no links", help);
                let app = &self.declared.value;
                let others = containers.iter().filter(|other| other.name != container.name);
                let namesake = others
                    .filter(|other| app.network_of(other) == Network::App)
                    .find(|other| other.replica_names().any(|name| name == container.name));
                if let Some(other) = namesake {
                    let message =
                        format!("`{}` would be the name of a replica of `{}` too", container.name, other.name);
                    self.tell("name", message, Some("on the app's network both would answer to it".to_owned()));
                }
            }
        }
    }

    fn excluded(&mut self, is: bool, place: &str, message: &str, help: &str) {
        if is {
            self.tell(place, message, Some(help.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STACK, app, loaded, problems};

    const REDIS: &str = "name: redis, image: redis";

    #[test]
    fn what_a_network_cannot_do_is_told_with_what_to_do_instead() {
        for (container, said) in [
            ("network: host, ports: [\"80:80\"]", "`network: host` publishes no ports (leave `ports` out"),
            ("network: host, links: [redis0]", "`network: host` has no links"),
            (
                "network: host, sysctls: {net.core.somaxconn: 1}",
                "the parameter `net.core.somaxconn` would be the instance's",
            ),
            ("network: none, ports: [\"80\"]", "`network: none` publishes no ports"),
            ("network: none, links: [redis0]", "`network: none` has no links"),
            ("network: app, links: [redis0]", "`network: app` has no links (leave `links` out"),
        ] {
            let told = problems(&[REDIS, &format!("name: a, image: x, {container}")]);
            assert!(told.len() == 1 && told[0].contains(said), "{container}: {told:#?}");
        }
        let good =
            ["network: host", "network: none", "network: app, ports: [\"80:80\"]", "network: bridge, links: [redis0]"];
        for container in good {
            assert_eq!(problems(&[REDIS, &format!("name: a, image: x, {container}")]), Vec::<String>::new());
        }
    }

    #[test]
    fn nothing_is_linked_to_what_is_in_another_network() {
        let told = problems(&[&format!("{REDIS}, network: app"), "name: a, image: x, links: [redis0]"]);
        assert_eq!(
            told,
            [
                "`redis0` is not in the engine's default network, where links are (declare `network: app` for both, and leave `links` out)"
            ]
        );
    }

    #[test]
    fn an_app_s_network_is_that_of_the_containers_that_do_not_choose() {
        let app = app(
            "a",
            &[REDIS, "name: b, image: x, links: [redis0]", "name: c, image: x, links: [redis0], network: bridge"],
        );
        let app = app.replace("  containers", "  network: app\n  containers");
        let told = loaded(&format!("{STACK}{app}")).unwrap_err();
        assert!(told.len() == 2 && told[0].contains("`network: app` has no links"), "{told:#?}");
        assert!(told[1].contains("`redis0` is not in the engine's default network"), "{told:#?}");
    }

    #[test]
    fn a_name_on_the_app_s_network_means_one_thing() {
        let told = problems(&["name: b, image: x, network: app", "name: b0, image: x, network: app"]);
        assert!(told[0].contains("`b0` would be the name of a replica of `b` too"), "{told:#?}");
    }
}
