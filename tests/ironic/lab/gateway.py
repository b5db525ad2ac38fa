"""A gateway: the shim outside of the machines, which agents call and Ironic finds them at."""

from . import places
from .cable import Cable
from .errors import LabError
from .process import Service, run, wait_for

URL = f"https://{places.GATEWAY}:{places.AGENT_PORT}"
# Agents call the cable, which leads to the gateway.
CABLE_PORT, PORT = 9997, 9998


class Gateway:
    """The process, its certificates, and the cable between it and the agents."""

    CREDENTIALS = "etc/gateway"
    # What an operator puts into the machines' kernel parameters, and into their ramdisk.
    KERNEL_PARAMETERS = f"ipa-grpc-listen=none ipa-conductor=https://{places.GATEWAY}:{CABLE_PORT}"
    OPTIONS = f"""[DEFAULT]
grpc_tls_ca_file = /{CREDENTIALS}/ca.crt
grpc_tls_cert_file = /{CREDENTIALS}/agent.crt
grpc_tls_key_file = /{CREDENTIALS}/agent.key
"""

    def __init__(self):
        self.directory = places.RUN / "gateway"
        self.state, self.certificates = self.directory / "state", self.directory / "certificates"
        self.service = Service("the gateway", places.RUN / "gateway.log")
        self.log = self.service.log
        self.cable = Cable(CABLE_PORT, PORT)

    def start(self):
        if not places.SHIM.is_file():
            raise LabError(f"there is no {places.SHIM}; run `make ramdisk` first")
        self.state.mkdir(parents=True)
        here = places.REPOSITORY / "tests/ironic/lab"
        run([places.VENV / "bin/python", here / "certificates.py", self.certificates, places.GATEWAY])
        self.serve()
        self.cable.open()

    def serve(self):
        """Starts the process, for the first time or again."""
        starts = self.count("rest_door_open")
        certificates = self.certificates
        self.service.start([
            str(places.SHIM), "--gateway_url", URL, "--listen_host", places.GATEWAY, "--conductor_listen", f"0.0.0.0:{PORT}",
            "--api_url", places.IRONIC_URL, "--inspection_callback_url", f"{places.IRONIC_URL}/v1/continue_inspection",
            "--state_dir", str(self.state), "--grpc_tls_ca_file", str(certificates / "ca.crt"),
            "--grpc_tls_cert_file", str(certificates / "gateway.crt"), "--grpc_tls_key_file", str(certificates / "gateway.key"),
        ])

        def is_up():
            self.service.check()
            return self.count("rest_door_open") > starts

        wait_for("the gateway", is_up, 60, self.log)

    def count(self, event):
        """How often the log has an event."""
        return self.log.read_text(errors="replace").count(f"event={event}") if self.log.exists() else 0

    def stop(self):
        self.cable.close()
        self.service.stop()

    def authority(self):
        """The CA that the gateway made for its REST server."""
        return (self.state / "gateway-ca.crt").read_text()

    def files(self):
        """What an agent's ramdisk needs, by path."""
        credentials = {f"{self.CREDENTIALS}/{name}": (self.certificates / name).read_bytes()
                       for name in ("ca.crt", "agent.crt", "agent.key")}
        return {"etc/ironic-python-agent.d/gateway.conf": self.OPTIONS.encode(), **credentials}
