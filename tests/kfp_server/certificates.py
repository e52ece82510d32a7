"""A certificate authority of one's own, and a certificate of it for loopback."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """PEM files.

    Args:
        authority: The authority's certificate: what a client is to trust.
        server: The server's certificate and key.
    """

    authority: str
    server: str


def make_certificates(folder: Path, host: str = "127.0.0.1") -> Certificates:
    """Makes an authority, and a certificate for ``host`` that it has signed."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("Test authority")
    signed = _certificate(authority, authority, authority_key, authority_key)
    signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    signed = signed.add_extension(usage, critical=True)
    leaf = _certificate(_name(host), authority, server_key, authority_key)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    leaf = leaf.add_extension(names, critical=False)
    (folder / "ca.pem").write_bytes(
        signed.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    private = server_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = leaf.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "server.pem").write_bytes(private + public)
    return Certificates(str(folder / "ca.pem"), str(folder / "server.pem"))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
    )
