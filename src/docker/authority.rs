//! The authority that signs what the controller and the engines show each other.
//!
//! Everything is P-256: with an RSA key, certificate, key and authority together would not fit into an SSM parameter.

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use x509_parser::{extensions::GeneralName, pem::Pem, prelude::X509Certificate};

/// How long an authority is valid.
const AUTHORITY_DAYS: u32 = 3650;

/// What signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[allow(missing_docs)]
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// When it expires.
    pub until: Timestamp,
    /// The DNS names that it is for.
    pub names: Vec<String>,
}

impl Authority {
    /// A new one: its certificate and key, both PEM.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn make(now: Timestamp) -> Result<Leaf, String> {
        let mut params = params("evenkeel authority", now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let made = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
        let made = made.map_err(|error| error.to_string())?;
        Ok(Leaf { cert: made.pem(), key: made.key().serialize_pem() })
    }

    /// The one of a certificate and its key.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(cert: &str, key: &str) -> Result<Authority, String> {
        let pair = KeyPair::from_pem(key).map_err(|error| {
            format!("its key is none that can sign ({error}); it has to be PKCS#8, as `openssl pkcs8 -topk8 -nocrypt` writes it")
        })?;
        let ours = pair.subject_public_key_info();
        let same = with(cert.as_bytes(), |cert| cert.tbs_certificate.subject_pki.raw == ours)?;
        if !same {
            return Err("its key belongs to another certificate; bring the two that were made together".into());
        }
        let first = first(cert.as_bytes())?;
        let issuer = Issuer::from_ca_cert_der(&first.contents.into(), pair).map_err(|error| error.to_string())?;
        Ok(Authority { issuer })
    }

    /// What the controller shows to engines.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn controller(&self, now: Timestamp, days: u32) -> Result<Leaf, String> {
        self.sign("evenkeel controller", None, ExtendedKeyUsagePurpose::ClientAuth, now, days)
    }

    /// What the engines of a name show to the controller.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn engine(&self, name: &str, now: Timestamp, days: u32) -> Result<Leaf, String> {
        self.sign(name, Some(name), ExtendedKeyUsagePurpose::ServerAuth, now, days)
    }

    fn sign(
        &self,
        called: &str,
        name: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
        now: Timestamp,
        days: u32,
    ) -> Result<Leaf, String> {
        let mut params = params(&called.chars().take(64).collect::<String>(), now, days);
        if let Some(name) = name {
            let name = name.try_into().map_err(|error: rcgen::Error| error.to_string())?;
            params.subject_alt_names.push(rcgen::SanType::DnsName(name));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let cert = params.signed_by(&key, &self.issuer).map_err(|error| error.to_string())?;
        Ok(Leaf { cert: cert.pem(), key: key.serialize_pem() })
    }
}

/// True when an authority's certificate has signed another one.
pub fn signed(authority: &[u8], cert: &[u8]) -> bool {
    with(authority, |authority| with(cert, |cert| cert.verify_signature(Some(authority.public_key())).is_ok()))
        .and_then(|signed| signed)
        .unwrap_or(false)
}

/// What the first certificate of a PEM text says.
///
/// # Errors
/// When there is none that can be read.
pub fn read(pem: &[u8]) -> Result<Said, String> {
    with(pem, |cert| {
        let names = cert.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        Said {
            until: Timestamp::from_second(cert.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX),
            names: names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect(),
        }
    })
}

fn with<T>(pem: &[u8], ask: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, String> {
    let first = first(pem)?;
    let cert = first.parse_x509().map_err(|error| format!("its certificate cannot be read ({error})"))?;
    Ok(ask(&cert))
}

fn first(pem: &[u8]) -> Result<Pem, String> {
    Pem::iter_from_buffer(pem)
        .flatten()
        .find(|pem| pem.label == "CERTIFICATE")
        .ok_or_else(|| "there is no certificate in it".to_owned())
}

fn params(called: &str, now: Timestamp, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, called);
    // From yesterday: the clocks of instances are not all the same.
    let (from, until) = (day(now, -1), day(now, i64::from(days)));
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    params
}

/// The year, month and day, so many days from now.
fn day(now: Timestamp, days: i64) -> (i32, u8, u8) {
    let then = now.to_zoned(TimeZone::UTC).checked_add(days.days()).map_or(Date::MAX, |then| then.date());
    (then.year().into(), then.month().unsigned_abs(), then.day().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn authority() -> (Leaf, Authority) {
        let made = Authority::make(now()).unwrap();
        let read = Authority::read(&made.cert, &made.key).unwrap();
        (made, read)
    }

    #[test]
    fn a_certificate_is_for_its_name_and_as_long_as_it_was_asked_for() {
        let (made, authority) = authority();
        let engine = authority.engine("shop.docker.evenkeel", now(), 825).unwrap();
        let said = read(engine.cert.as_bytes()).unwrap();
        assert_eq!(said.names, ["shop.docker.evenkeel"]);
        assert_eq!(said.until.to_string(), "2028-06-03T00:00:00Z");
        assert!(signed(made.cert.as_bytes(), engine.cert.as_bytes()));

        let controller = authority.controller(now(), 1).unwrap();
        assert_eq!(read(controller.cert.as_bytes()).unwrap().names, Vec::<String>::new());
        let (other, _) = self::authority();
        assert!(!signed(other.cert.as_bytes(), controller.cert.as_bytes()));
    }

    #[test]
    fn what_an_engine_is_given_fits_into_an_ssm_parameter() {
        let (made, authority) = authority();
        let name = format!("{}.docker.evenkeel", "s".repeat(63));
        let leaf = authority.engine(&name, now(), 825).unwrap();
        let size = leaf.cert.len() + leaf.key.len() + made.cert.len();
        assert!(size < 4096, "{size}");
    }

    #[test]
    fn an_authority_is_not_taken_with_another_ones_key() {
        let (one, _) = authority();
        let (other, _) = authority();
        assert!(Authority::read(&one.cert, &other.key).err().unwrap().contains("another certificate"));
        assert!(Authority::read(&one.cert, "junk").err().unwrap().contains("PKCS#8"));
        assert!(Authority::read("junk", &one.key).err().unwrap().contains("no certificate in it"));
        assert_eq!(read(b"").unwrap_err(), "there is no certificate in it");
    }
}
