"""A ramdisk that is booted as Metal3 boots it: what ironic-image puts on its command line and behind it."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .. import places, ramdisk, ssh
from ..process import wait_for
from .base import Scenario, expect

FIXTURES = places.REPOSITORY / "tests/fixtures/ironic-image"
HTTPS_PORT, SSH_PORT = 6386, 2222


class HttpsServer:
    """Knows which paths were asked for, by those who took its certificate; a context."""

    def __init__(self, port):
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append(self.path)
                self.send_error(503)

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FIXTURES / "server.pem")
        self.server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Metal3(Scenario):
    """`sshkey=` in both forms in which loaders pass it, `fips=1`, and the second archive with the certificates of the
    servers, byte by byte as ironic-image makes it; besides, a card without its firmware."""

    title = "booted as Metal3 boots it: a key for SSH, certificates in a second archive, FIPS"
    MACHINE = "mixed"  # which has the least to do
    USUAL = "nofb nomodeset vga=normal ipa-insecure=0 fips=1 systemd.journald.forward_to_console=yes"

    def run(self):
        key = places.RUN / "operator-key"
        public = ssh.make_key(key)
        with_certificates = ramdisk.with_archive("with-certificates", FIXTURES / "ipa-cacert-bundle")
        api = f"ipa-api-url=https://{places.GATEWAY}:{HTTPS_PORT}"
        with self.step("without permission: the console says that the key is ignored, and nobody can log in"):
            with ramdisk.Guest(ramdisk.original_path(), f'{self.USUAL} sshkey="{public}"', SSH_PORT) as guest:
                said = guest.wait("agent: start number 1")
                expect("sshkey= ON THE COMMAND LINE IS IGNORED" in said and "ramdisk.ssh=1" in said, "it does not", ramdisk.CONSOLE)
                expect("NOT A VALIDATED MODULE" in said, "nothing was said about fips=1", ramdisk.CONSOLE)
                expect(not ssh.is_open("127.0.0.1", SSH_PORT), "an SSH server listens", ramdisk.CONSOLE)
        parameters = f'{self.USUAL} ramdisk.ssh=1 "sshkey={public}" {api}'
        with HttpsServer(HTTPS_PORT) as server, ramdisk.Guest(with_certificates, parameters, SSH_PORT, ["i82551"]) as guest:
            with self.step("with permission: the operator's key lets root in, and nothing else does"):
                guest.wait("agent: start number 1")
                wait_for("an SSH server", lambda: ssh.is_open("127.0.0.1", SSH_PORT), 90, ramdisk.CONSOLE)
                self.check_logins(key)
            with self.step("a server with a certificate of the second archive's authorities is asked"):
                wait_for("a question to the server", lambda: server.asked, 120, ramdisk.CONSOLE)
            with self.step("a card that lacks its firmware is named, with the package that has it"):
                guest.wait("NEEDS e100/d102e_ucode.bin")
                guest.wait("ramdisk/build --firmware firmware-misc-nonfree")
        with self.step("without the second archive that server is not believed"):
            with HttpsServer(HTTPS_PORT) as server, ramdisk.Guest(ramdisk.original_path(), f"{self.USUAL} {api}", SSH_PORT) as guest:
                guest.wait("certificate")
                expect(not server.asked, f"it was asked for {server.asked}", ramdisk.CONSOLE)

    def check_logins(self, key):
        other = places.RUN / "another-key"
        ssh.make_key(other)
        by_key = "PreferredAuthentications=publickey"
        done = ssh.log_in(SSH_PORT, f'IdentityFile="{key}"', by_key)
        expect(done.stdout.strip() == "0", f"the key's owner is not root: {done}", ramdisk.CONSOLE)
        done = ssh.log_in(SSH_PORT, f'IdentityFile="{other}"', by_key)
        expect(done.returncode != 0 and "Permission denied" in done.stderr, f"another key: {done}", ramdisk.CONSOLE)
        done = ssh.log_in(SSH_PORT, "PreferredAuthentications=password,keyboard-interactive")
        expect(done.returncode != 0 and "Permission denied (publickey)" in done.stderr, f"a password: {done}", ramdisk.CONSOLE)
