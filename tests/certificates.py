"""Certificates for tests, made in milliseconds and signed by themselves."""

from __future__ import annotations

import ipaddress
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def make_certificate(folder: Path, name: str = "server", *, starts: float = -1, ends: float = 365,
                     for_servers: bool = True, password: bytes | None = None) -> tuple[Path, Path]:  # fmt: skip
    """A certificate of localhost and 127.0.0.1 with its key, both PEM.

    Args:
        folder: where ``<name>.crt`` and ``<name>.key`` go.
        name: of the files.
        starts: days from now; so is ``ends``.
        ends: see above.
        for_servers: whether its purpose is a server's, or a client's.
        password: that the key is encrypted with.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if for_servers else ExtendedKeyUsageOID.CLIENT_AUTH
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(pem, pkcs8, encryption))
    for path in paths:
        os.utime(path, ns=(time.time_ns(),) * 2)  # what a kernel notes by itself may be the same for two in a row
    return paths
