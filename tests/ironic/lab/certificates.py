"""Makes a CA and the certificates with which a gateway and its agents know one another.

    certificates.py DIRECTORY ADDRESS

Runs inside the virtual environment, which has the library. Writes `ca.crt`, and a certificate and a key
for `gateway`, which is at ADDRESS and may call other gateways, and for `agent`.
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def named(subject, issuer, key):
    """The beginning of a certificate, which is valid since yesterday."""
    today = datetime.datetime.now(datetime.UTC)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(today - DAY).not_valid_after(today + 30 * DAY))


def main():
    directory, address = Path(sys.argv[1]), ipaddress.ip_address(sys.argv[2])
    directory.mkdir(parents=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    own = named("lab CA", "lab CA", authority).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (directory / "ca.crt").write_bytes(own.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    for subject, usages in (("gateway", [server, client]), ("agent", [client])):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = named(subject, "lab CA", key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if subject == "gateway":
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        certificate = builder.sign(authority, hashes.SHA256())
        (directory / f"{subject}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{subject}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


if __name__ == "__main__":
    main()
