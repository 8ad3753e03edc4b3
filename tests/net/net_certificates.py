"""Certificates for tests: an authority, what it signs, and what it takes back."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates, and writes them into a folder with their keys; `path` is its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key, 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = builder.add_extension(usage, True).sign(self.key, SHA256())
        self.path = str(folder / f"{name}.pem")
        Path(self.path).write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - 40 * DAY).not_valid_after(now + days * DAY)

    def sign(
        self, common_name: str, *names: x509.GeneralName, organization: str = "", days: int = 30, file: str = ""
    ) -> str:
        """A certificate with its key, for servers or clients; the path of the file with both."""
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        if common_name:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name(parts), key, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = builder.add_extension(identifier, False).sign(self.key, SHA256())
        path = self.folder / f"{file or common_name}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
        return str(path)

    def intermediate(self, name: str) -> Authority:
        """An authority whose own certificate this one has signed."""
        made = Authority(self.folder, name)
        builder = self._builder(made.name, made.key, 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        made.certificate = builder.sign(self.key, SHA256())
        Path(made.path).write_bytes(made.certificate.public_bytes(Encoding.PEM))
        return made

    def server(self, *hosts: str, file: str = "") -> str:
        """A certificate for a server with these names."""
        return self.sign(hosts[0], *[x509.DNSName(host) for host in hosts], file=file)

    def revoke(self, *paths: str) -> str:
        """A list of these certificates as revoked; its path."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder(self.name, now - DAY, now + DAY)
        for path in paths:
            certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
            revoked = x509.RevokedCertificateBuilder(certificate.serial_number, now - DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        listed = self.folder / "revoked.pem"
        listed.write_bytes(builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM))
        return str(listed)
