//! How a new EC2 instance becomes a member of its layer: a script as its user-data, and what the console says of it.
//!
//! The instance reports through its console, which the controller can read whatever became of the network: one line
//! when the script begins, and one when it is done or has failed, with the step and its last words ([`verdict`]).
//!
//! A renewed certificate: `dockerd` reads its certificate only when it starts, not on a reload, and a restart, though
//! containers live through it, would lose requests while its port mappings are made anew. So nothing restarts it: it
//! fetches what is current whenever it is started, and a certificate that must be in place by a certain time arrives
//! as everything else that needs a new start does, with an instance refresh.

mod verdict;

use std::{collections::BTreeMap, fmt::Write as _, sync::LazyLock};

use sha2::{Digest as _, Sha256};
use shell_words::quote;

pub use verdict::{Verdict, verdict};

/// "User data is limited to 16 KB, in raw form, before it is base64-encoded" (EC2 User Guide, "Run commands when you
/// launch an EC2 instance with user data input").
pub const LIMIT: usize = 16 * 1024;

const TEMPLATE: &str = include_str!("user-data.sh");
const TLS: &str = include_str!("tls.sh");
const SSH: &str = include_str!("ssh.sh");
const PARTS: [(&str, &str); 4] = [
    ("nvme.py", include_str!("nvme.py")),
    ("certs.py", include_str!("certs.py")),
    ("daemon.py", include_str!("daemon.py")),
    ("grow.sh", include_str!("grow.sh")),
];

/// What an instance must know to become a member of its layer.
///
/// Not the size of its volumes: they grow in place, and that must not look like a change that needs a new instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The stack's name.
    pub stack: String,
    /// The layer's short name.
    pub layer: String,
    /// The instance's hostname.
    pub hostname: String,
    /// The region, `eu-west-1`.
    pub region: String,
    /// Where each declared EBS volume is attached and mounted.
    pub mounts: Vec<Mount>,
    /// How the controller reaches the engine.
    pub transport: Transport,
    /// How the logs of containers are rotated.
    pub log: LogRotation,
    /// The authorities, as PEM, that vouch for registries, by host.
    pub authorities: BTreeMap<String, String>,
}

/// A volume of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The name in its attachment, see [`device`].
    pub device: String,
    /// An absolute path.
    pub mount_point: String,
}

/// How the controller reaches the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `dockerd` listens on a port and lets in whom the CA has signed.
    Tls {
        /// The port, on every address of the instance.
        port: u16,
        /// The SSM SecureString whose value is the server's certificate (with what leads to the CA, if anything), its
        /// private key and the CA's certificates, in this order, each as PEM. The instance's role must be allowed to
        /// `ssm:GetParameter` it, and to `kms:Decrypt` with its key.
        parameter: String,
        /// Where SSM is, if not at the public endpoint of the region: `https://vpce-….amazonaws.com`.
        ssm_endpoint: Option<String>,
    },
    /// `dockerd` listens on its unix socket alone, which the AMI's default user may use.
    Ssh,
}

/// How the logs of containers are rotated (Docker's `json-file` driver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRotation {
    /// A log is rotated when it has this size, `10m`.
    pub max_size: String,
    /// So many are kept.
    pub max_file: u32,
}

/// The script is longer than EC2 takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the user-data of {hostname} has {bytes} bytes, of at most {LIMIT}: declare fewer volumes, shorter mount points, or fewer \
     authorities of registries"
)]
pub struct TooLarge {
    /// Whose.
    pub hostname: String,
    /// How long it is.
    pub bytes: usize,
}

/// The user-data of an instance: a bash script that tells by itself what it does. The same for the same values.
///
/// # Errors
/// The values make it longer than EC2 takes.
pub fn user_data(bootstrap: &Bootstrap) -> Result<String, TooLarge> {
    let mut script = String::new();
    fill(&mut script, TEMPLATE, &values(bootstrap), bootstrap.transport.part());
    if script.len() > LIMIT {
        return Err(TooLarge { hostname: bootstrap.hostname.clone(), bytes: script.len() });
    }
    Ok(script)
}

/// Tells one script from another, in 16 characters, for a tag: an instance with another one needs to be replaced.
///
/// The script is made of what is the same for all and of the values, so it need not be put together for this: that is
/// asked of every instance whenever its stack is looked at.
pub fn fingerprint(bootstrap: &Bootstrap) -> String {
    static SAME_FOR_ALL: LazyLock<[Sha256; 2]> = LazyLock::new(|| {
        [TLS, SSH].map(|transport| {
            let mut script = String::new();
            fill(&mut script, TEMPLATE, "", transport);
            Sha256::new_with_prefix(script)
        })
    });
    let [tls, ssh] = &*SAME_FOR_ALL;
    let begun = if let Transport::Ssh = bootstrap.transport { ssh } else { tls };
    let hash = begun.clone().chain_update(values(bootstrap)).finalize();
    hash.iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The device name of the `index`th volume: those that AWS recommends for EBS volumes, `/dev/sdf` to `/dev/sdp`
/// ("Device names for volumes on Amazon EC2 instances"), so there are none beyond the eleventh.
pub fn device(index: usize) -> Option<String> {
    ('f'..='p').nth(index).map(|letter| format!("/dev/sd{letter}"))
}

impl Transport {
    /// Its part of the template.
    fn part(&self) -> &'static str {
        if let Transport::Ssh = self { SSH } else { TLS }
    }
}

/// The template with its parts and values, without its comments: those are for who reads them here, they would take a
/// seventh of the room, and a better one must not replace a fleet.
fn fill(script: &mut String, template: &str, values: &str, transport: &str) {
    for line in template.lines() {
        match line.strip_prefix("#@ ") {
            Some("values") => script.push_str(values),
            Some("transport") => fill(script, transport, values, transport),
            Some(name) => {
                let part = PARTS.iter().find(|(part, _)| *part == name).map(|(_, text)| *text);
                fill(script, part.unwrap_or_default(), values, transport);
            }
            None if line.trim_start().starts_with('#') && !line.starts_with("#!") => {}
            None => {
                script.push_str(line);
                script.push('\n');
            }
        }
    }
}

fn values(bootstrap: &Bootstrap) -> String {
    let (port, parameter, endpoint) = match &bootstrap.transport {
        Transport::Tls { port, parameter, ssm_endpoint } => {
            (port.to_string(), parameter.as_str(), ssm_endpoint.as_deref().unwrap_or_default())
        }
        Transport::Ssh => Default::default(),
    };
    let mut text = "\
        # Written by Evenkeel. Makes this instance a member of its layer, once; a second run does no harm.\n\
        # /var/log/evenkeel-bootstrap.log has what the commands said, the console how it ended.\n"
        .to_owned();
    for (name, value) in [
        ("stack", bootstrap.stack.as_str()),
        ("layer", &bootstrap.layer),
        ("hostname", &bootstrap.hostname),
        ("region", &bootstrap.region),
        ("port", &port),
        ("parameter", parameter),
        ("ssm_endpoint", endpoint),
        ("log_max_size", &bootstrap.log.max_size),
        ("log_max_file", &bootstrap.log.max_file.to_string()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={}", quote(value));
    }
    let mut mounts: Vec<_> =
        bootstrap.mounts.iter().map(|mount| (mount.mount_point.trim_end_matches('/'), &mount.device)).collect();
    mounts.sort_unstable();
    text.push_str("mounts=(\n");
    for (mount_point, device) in mounts {
        let _ = writeln!(text, "    {} {}", quote(device), quote(mount_point));
    }
    text.push_str(")\n");
    if !bootstrap.authorities.is_empty() {
        text.push_str("authorities=(\n");
        for (host, pem) in &bootstrap.authorities {
            let _ = writeln!(text, "    {} {}", quote(host), quote(pem));
        }
        text.push_str(")\n");
        text.push_str(TRUST);
    }
    text
}

/// Where the engine looks for a registry's authority whenever it asks that registry ("Verify repository client with
/// certificates", Docker's documentation). A part of the values, so that a script without any is as it always was.
const TRUST: &str = r#"for ((i = 0; i < ${#authorities[@]}; i += 2)); do
    mkdir -p "${docker_certs:=/etc/docker/certs.d}/${authorities[i]}"
    printf '%s' "${authorities[i + 1]}" >"$docker_certs/${authorities[i]}/ca.crt"
done
"#;

#[cfg(test)]
mod tests;
