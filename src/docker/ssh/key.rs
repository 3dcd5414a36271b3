//! The private keys that the controller logs in with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use russh::keys::{PrivateKey, decode_secret_key};

/// Where the private keys of the EC2 key pairs lie, each under its name: `ops` or `ops.pem`.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The directory.
    pub dir: PathBuf,
}

impl Keys {
    /// The file of a key, and the key. Read anew for each login, so that one that was replaced is taken up. The error
    /// says what to do.
    pub(super) fn load(&self, name: &str) -> Result<(PathBuf, PrivateKey), String> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(format!("the name {name:?} names no SSH key; correct sshKeyName of the stack"));
        }
        let plain = self.dir.join(name);
        let pem = self.dir.join(format!("{name}.pem"));
        for file in [&plain, &pem] {
            match fs::read_to_string(file) {
                Ok(text) => return decode(file, &text).map(|key| (file.clone(), key)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot(file, &error.to_string(), "make it a file that the controller reads")),
            }
        }
        Err(format!(
            "there is no SSH key {name}: neither {} nor {} exists; put the private key of that EC2 key pair there, or \
             name the directory that holds it with --ssh-keys",
            plain.display(),
            pem.display()
        ))
    }
}

fn decode(file: &Path, text: &str) -> Result<PrivateKey, String> {
    const DECRYPT: &str = "nobody is there to type its passphrase; store it without one, as \
                           `ssh-keygen -p -N '' -f FILE` does, readable by the controller alone";
    // The formats that OpenSSL writes say in their heads that they are encrypted.
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(cannot(file, "it is encrypted", DECRYPT));
    }
    decode_secret_key(text, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => cannot(file, "it is encrypted", DECRYPT),
        error => {
            let advice = "it has to be a private key as EC2 or ssh-keygen gives it, in OpenSSH's format or PEM";
            cannot(file, &error.to_string().to_lowercase(), advice)
        }
    })
}

fn cannot(file: &Path, what: &str, advice: &str) -> String {
    format!("cannot use the SSH key {}: {what}; {advice}", file.display())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys { dir: dir.path().to_owned() };
        (dir, keys)
    }

    fn ssh_keygen(dir: &Path, name: &str, kind: &[&str]) {
        let file = dir.join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-C", "", "-f"]).arg(file).args(kind).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    #[test]
    fn keys_of_every_kind_that_ec2_gives_are_read_with_and_without_their_ending() {
        let (dir, keys) = keys();
        for (number, kind) in [
            &["-t", "ed25519", "-N", ""][..],
            &["-t", "rsa", "-b", "2048", "-N", ""],
            &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""],
            &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""],
            &["-t", "ecdsa", "-m", "PKCS8", "-N", ""],
        ]
        .iter()
        .enumerate()
        {
            let ending = ["", ".pem"][number % 2];
            ssh_keygen(dir.path(), &format!("ops{number}{ending}"), kind);
            let (file, key) = keys.load(&format!("ops{number}")).unwrap();
            assert_eq!(file, dir.path().join(format!("ops{number}{ending}")));
            let public = fs::read_to_string(dir.path().join(format!("ops{number}{ending}.pub"))).unwrap();
            assert_eq!(key.public_key().to_openssh().unwrap().trim(), public.trim());
        }
    }

    #[test]
    fn a_key_that_is_missing_encrypted_or_none_is_told_with_its_file_and_what_to_do() {
        let (dir, keys) = keys();
        let missing = keys.load("ops").unwrap_err();
        assert!(missing.contains("/ops nor ") && missing.contains("/ops.pem exists; put the private key"), "{missing}");

        for (name, format) in [("new", "RFC4716"), ("pem", "PEM"), ("pkcs8", "PKCS8")] {
            ssh_keygen(dir.path(), name, &["-t", "rsa", "-b", "2048", "-m", format, "-N", "secret"]);
            let encrypted = keys.load(name).unwrap_err();
            assert!(encrypted.contains(&format!("/{name}: it is encrypted; ")), "{encrypted}");
        }

        fs::write(dir.path().join("none"), "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").unwrap();
        for name in ["none", "new.pub"] {
            let none = keys.load(name).unwrap_err();
            assert!(none.contains(&format!("/{name}: ")) && none.contains("OpenSSH's format or PEM"), "{none}");
        }
    }

    #[test]
    fn a_name_never_leads_out_of_the_directory() {
        let (dir, keys) = keys();
        fs::create_dir(dir.path().join("sub")).unwrap();
        for name in ["", "..", "../ops", "/etc/passwd", "sub/ops"] {
            assert!(keys.load(name).unwrap_err().contains("names no SSH key"), "{name}");
        }
        assert!(keys.load("sub").unwrap_err().contains("make it a file"));
    }
}
