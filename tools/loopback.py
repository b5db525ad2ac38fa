"""What tests and benches need to run servers on loopback: free ports, and a CA with one certificate for everybody."""

import socket
import subprocess


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Certificates:
    """A CA, and one certificate of it for every server and client at 127.0.0.1. `openssl` is the program."""

    def __init__(self, directory, openssl="openssl"):
        self.ca, self.cert, self.key = (directory / name for name in ("ca.crt", "all.crt", "all.key"))
        ca_key, request, extension = directory / "ca.key", directory / "all.csr", directory / "extension"
        extension.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for command in (
            ["req", "-x509", *curve, "-subj", "/CN=loopback CA", "-days", "2", "-keyout", ca_key, "-out", self.ca],
            ["req", *curve, "-subj", "/CN=loopback", "-keyout", self.key, "-out", request],
            ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
             "-extfile", extension, "-out", self.cert],
        ):
            subprocess.run([openssl, *command], check=True, capture_output=True)
