"""The certificates of the proving ground: one authority, one client, a server for each instance.

`python -m evenkeel_testbed.pki` makes what is missing under the state directory: `ca.pem`, `client/`,
`registry/`, `balancer.pem`, and `rogue/`, an unrelated authority with a client of its own, so that a test
can present or expect the wrong certificate.
"""

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import paths

LIFETIME = datetime.timedelta(days=825)


def write_authority(directory: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    cert = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ),  # fmt: skip
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(directory / "ca-key.pem", _pem(key), 0o600)
    _write(directory / "ca.pem", cert.public_bytes(serialization.Encoding.PEM))


def write_leaf(
    authority: Path, directory: Path, common_name: str, names: list[str], addresses: list[str] = (), client: bool = False
) -> None:
    """`ca.pem`, `cert.pem` and `key.pem` in `directory`, the file names that Docker's clients look for."""
    ca_key = serialization.load_pem_private_key((authority / "ca-key.pem").read_bytes(), None)
    ca_cert = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        _builder(_name(common_name), ca_cert.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    alternatives = [x509.DNSName(n) for n in names] + [
        x509.IPAddress(ipaddress.ip_address(a)) for a in addresses
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    cert = builder.sign(ca_key, hashes.SHA256())
    _write(directory / "key.pem", _pem(key), 0o600)
    _write(directory / "cert.pem", cert.public_bytes(serialization.Encoding.PEM))
    _write(directory / "ca.pem", (authority / "ca.pem").read_bytes())


def ensure(pki: Path) -> None:
    """Makes what is missing; a key whose certificate was not written any more is made again."""
    for directory, name in ((pki, "Evenkeel proving ground"), (pki / "rogue", "Somebody else")):
        if not (directory / "ca.pem").exists():
            write_authority(directory, name)
            for leaf in ("client", "registry"):
                (directory / leaf / "ca.pem").unlink(missing_ok=True)
            (directory / "balancer.pem").unlink(missing_ok=True)
        if not (directory / "client" / "ca.pem").exists():
            write_leaf(directory, directory / "client", "evenkeel", [], client=True)
    if not (pki / "registry" / "ca.pem").exists():
        write_leaf(pki, pki / "registry", paths.REGISTRY, [paths.REGISTRY], [paths.GATEWAY])
    if not (pki / "balancer.pem").exists():
        write_leaf(pki, pki / "balancer", "balancer", ["*.elb.amazonaws.com", "localhost"])
        pair = (pki / "balancer" / "cert.pem").read_bytes() + (pki / "balancer" / "key.pem").read_bytes()
        _write(pki / "balancer.pem", pair, 0o600)


def _builder(subject, issuer, public_key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.chmod(mode)
    os.replace(partial, path)


if __name__ == "__main__":
    ensure(paths.PKI)
