//! The controller's own certificate, in the layout of docker's `DOCKER_CERT_PATH`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::authority;
use crate::world::{Class, Fault, Trouble};

/// Days before it expires at which a certificate begins to be complained about.
const SOON: i64 = 30;

/// Where the certificates lie: `ca.pem`, `cert.pem` and `key.pem`.
#[derive(Debug, Clone)]
pub struct Certs {
    /// The directory.
    pub dir: PathBuf,
}

/// The files' content; two that are equal open the same engines.
#[derive(PartialEq, Eq)]
pub(super) struct Pems {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Certs {
    pub(super) fn read(&self) -> Result<Pems, Trouble> {
        let read = |name| {
            let path = self.dir.join(name);
            fs::read(&path).map_err(|error| self.trouble(&path, &error.to_string()))
        };
        Ok(Pems { ca: read("ca.pem")?, cert: read("cert.pem")?, key: read("key.pem")? })
    }

    /// Trusts `ca.pem` alone: no public authority has a say about a Docker engine.
    pub(super) fn config(&self, pems: &Pems) -> Result<ClientConfig, Trouble> {
        let mut roots = RootCertStore::empty();
        for cert in self.chain("ca.pem", &pems.ca)? {
            roots.add(cert).map_err(|error| self.trouble(&self.dir.join("ca.pem"), &error.to_string()))?;
        }
        let chain = self.chain("cert.pem", &pems.cert)?;
        let key_path = self.dir.join("key.pem");
        let key = PrivateKeyDer::from_pem_slice(&pems.key)
            .map_err(|error| self.trouble(&key_path, &format!("no private key in it ({error})")))?;
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|error| self.trouble(&key_path, &format!("it does not fit cert.pem ({error})")))
    }

    /// What to say when the certificate expires within a month.
    pub(super) fn expiring(&self, pems: &Pems, now: Timestamp) -> Option<String> {
        let until = authority::read(&pems.cert).ok()?.until;
        let days = until.duration_since(now).as_hours() / 24;
        let file = self.dir.join("cert.pem");
        (days < SOON).then(|| {
            format!(
                "the controller's certificate {} is valid until {until:.0}, and no Docker engine takes it from then on; \
                 renew it: evenkeel certs --dir DIR --renew, where ca-key.pem is",
                file.display()
            )
        })
    }

    fn chain(&self, name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Trouble> {
        let path = self.dir.join(name);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| self.trouble(&path, &format!("not PEM ({error})")))?;
        if chain.is_empty() {
            return Err(self.trouble(&path, "no certificate in it"));
        }
        Ok(chain)
    }

    fn trouble(&self, path: &Path, what: &str) -> Trouble {
        Trouble {
            class: Class::of(Fault::Identity),
            message: format!(
                "cannot use {} to reach the Docker engines: {what}; put ca.pem, cert.pem and key.pem, as for \
                 DOCKER_CERT_PATH, into {}",
                path.display(),
                self.dir.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(dir: &Path) -> String {
        let certs = Certs { dir: dir.to_owned() };
        certs.read().and_then(|pems| certs.config(&pems)).unwrap_err().message
    }

    #[test]
    fn a_file_that_is_missing_or_empty_or_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(message(dir.path()).contains("ca.pem to reach"));

        let made = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let cert = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
            (cert.pem(), key.serialize_pem())
        };
        let (cert, _) = made("controller");
        let (_, another_key) = made("controller");
        fs::write(dir.path().join("ca.pem"), &cert).unwrap();
        fs::write(dir.path().join("cert.pem"), "").unwrap();
        fs::write(dir.path().join("key.pem"), "").unwrap();
        assert!(message(dir.path()).contains("cert.pem to reach the Docker engines: no certificate in it"));

        fs::write(dir.path().join("cert.pem"), &cert).unwrap();
        assert!(message(dir.path()).contains("key.pem to reach the Docker engines: no private key in it"));

        fs::write(dir.path().join("key.pem"), another_key).unwrap();
        assert!(message(dir.path()).contains("it does not fit cert.pem"));
    }
    #[test]
    fn a_certificate_that_expires_within_a_month_is_complained_about() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let made = authority::Authority::make(now).unwrap();
        let authority = authority::Authority::read(&made.cert, &made.key).unwrap();
        let certs = Certs { dir: "/certs".into() };
        let said = |days| {
            let cert = authority.controller(now, days).unwrap().cert.into_bytes();
            certs.expiring(&Pems { ca: Vec::new(), cert, key: Vec::new() }, now)
        };
        assert_eq!(said(60), None);
        let warning = said(20).unwrap();
        assert!(warning.contains("/certs/cert.pem is valid until 2026-03-21"), "{warning}");
        assert!(warning.contains("evenkeel certs"), "{warning}");
    }
}
