//! Published ports, as `docker run -p` takes them.

use std::net::IpAddr;

use serde::Serialize;

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// The host's address; left out, all of them.
    pub host_ip: Option<String>,
    /// The host's port; left out, the engine chooses.
    pub host_port: Option<u16>,
    /// The port inside.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl Port {
    /// Reads `8080`, `80:8080`, `127.0.0.1:80:8080` and `[::1]:80:8080`, each with an optional `/udp`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Port, String> {
        let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(format!("`{protocol}` is not a protocol: known are `tcp`, `udp` and `sctp`"));
        }
        let (ip, ports) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (ip, ports) = rest.split_once("]:").ok_or("`[` without its `]:`")?;
                (Some(ip), ports)
            }
            None if rest.matches(':').count() > 1 => {
                let (ip, ports) = rest.split_once(':').unwrap_or_default();
                (Some(ip), ports)
            }
            None => (None, rest),
        };
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (Some(host), container),
            None if ip.is_some() => return Err("an address needs both ports: `address:host:container`".to_owned()),
            None => (None, ports),
        };
        let host_port = match host {
            None => None,
            Some("") if ip.is_some() => None,
            Some(host) => Some(number(host)?),
        };
        let host_ip = ip.map(|ip| match ip.parse::<IpAddr>() {
            Ok(ip) => Ok(ip.to_string()),
            Err(_) => Err(format!("`{ip}` is not an IP address")),
        });
        Ok(Port {
            host_ip: host_ip.transpose()?,
            host_port,
            container_port: number(container)?,
            protocol: protocol.to_owned(),
        })
    }

    /// True when both cannot be published on one host.
    pub fn collides(&self, other: &Port) -> bool {
        fn everywhere(port: &Port) -> bool {
            port.host_ip.as_deref().is_none_or(|ip| ip == "0.0.0.0" || ip == "::")
        }
        self.host_port.is_some()
            && self.host_port == other.host_port
            && self.protocol == other.protocol
            && (everywhere(self) || everywhere(other) || self.host_ip == other.host_ip)
    }
}

fn number(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err(format!("`{text}` is a range: give each port on its own"));
    }
    match text.parse() {
        Ok(port @ 1..) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(format!("`{text}` is not a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, host_port: Option<u16>, container_port: u16, protocol: &str) -> Port {
        Port { host_ip: host_ip.map(str::to_owned), host_port, container_port, protocol: protocol.to_owned() }
    }

    #[test]
    fn every_form_that_docker_takes_is_read() {
        assert_eq!(Port::parse("8080"), Ok(port(None, None, 8080, "tcp")));
        assert_eq!(Port::parse("80:8080"), Ok(port(None, Some(80), 8080, "tcp")));
        assert_eq!(Port::parse("53:53/udp"), Ok(port(None, Some(53), 53, "udp")));
        assert_eq!(Port::parse("127.0.0.1:80:8080/tcp"), Ok(port(Some("127.0.0.1"), Some(80), 8080, "tcp")));
        assert_eq!(Port::parse("127.0.0.1::8080"), Ok(port(Some("127.0.0.1"), None, 8080, "tcp")));
        assert_eq!(Port::parse("[::1]:80:8080"), Ok(port(Some("::1"), Some(80), 8080, "tcp")));
    }

    #[test]
    fn what_docker_would_refuse_is_refused() {
        for text in
            ["", "x", "0", "65536", ":80", "80:", "+80", "80:80/x", "1.2.3:80:80", "[::1]80", "1.2.3.4:", "a:b:c:d"]
        {
            assert!(Port::parse(text).is_err(), "{text}");
        }
        assert!(Port::parse("8000-8010:8000-8010").unwrap_err().contains("range"));
    }

    #[test]
    fn a_host_port_is_taken_once_per_address_and_protocol() {
        let any = Port::parse("80:80").unwrap();
        let local = Port::parse("127.0.0.1:80:8080").unwrap();
        assert!(any.collides(&local));
        assert!(!local.collides(&Port::parse("10.0.0.1:80:80").unwrap()));
        assert!(!any.collides(&Port::parse("80:80/udp").unwrap()));
        assert!(!Port::parse("80").unwrap().collides(&Port::parse("80").unwrap()));
    }
}
