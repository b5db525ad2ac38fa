"""Gateways: the shim outside of the machines, which agents call and Ironic finds them at."""

import http.client
import shutil
import ssl

from . import places
from .cable import Cable
from .errors import LabError
from .process import Service, run, wait_for

URL = f"https://{places.GATEWAY}:{places.AGENT_PORT}"
# Agents call the cable, which leads to the gateway.
CABLE_PORT, PORT = 9997, 9998


CREDENTIALS = "etc/gateway"
# What an operator puts into the machines' ramdisk.
OPTIONS = f"""[DEFAULT]
grpc_tls_ca_file = /{CREDENTIALS}/ca.crt
grpc_tls_cert_file = /{CREDENTIALS}/agent.crt
grpc_tls_key_file = /{CREDENTIALS}/agent.key
"""


class Gateway:
    """The process, its certificates, and the cable between it and the agents."""

    # What an operator puts into the machines' kernel parameters.
    KERNEL_PARAMETERS = f"ipa-grpc-listen=none ipa-conductor=https://{places.GATEWAY}:{CABLE_PORT}"

    def __init__(self):
        self.directory = places.RUN / "gateway"
        self.certificates = self.directory / "certificates"
        self.replica = Replica("gateway", (places.GATEWAY, places.AGENT_PORT), PORT, self.certificates)
        self.log = self.replica.log
        self.cable = Cable(CABLE_PORT, PORT)

    def start(self):
        make_certificates(self.certificates, places.GATEWAY)
        self.replica.serve()
        self.cable.open()

    def count(self, event):
        """How often the log has an event."""
        return self.replica.count(event)

    def stop(self):
        self.cable.close()
        self.replica.service.stop()

    @staticmethod
    def answers(uuid):
        """Whether a conductor gets an answer about a node."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(places.GATEWAY, places.AGENT_PORT, timeout=60, context=trusting)
        try:
            connection.request("GET", f"/nodes/{uuid}/v1/status")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def authority(self):
        """The CA that the gateway made for its REST server."""
        return (self.replica.state / "gateway-ca.crt").read_text()

    def files(self):
        """What an agent's ramdisk needs, by path."""
        return agent_files(self.certificates)


class Replicas(Gateway):
    """Two gateways behind one address, which find each other by a NATS server. The cable leads agents, and `balancer`
    conductors, to the first one that takes a connection."""

    NATS_PORT = 4222

    def __init__(self):
        super().__init__()
        peers = self.directory / "peers"
        self.replicas = [
            Replica(name, ("127.0.0.1", rest), port, self.certificates, (
                "--directory", f"nats://127.0.0.1:{self.NATS_PORT}", "--peer_listen", f"127.0.0.1:{peer}",
                "--peer_url", f"https://127.0.0.1:{peer}", "--peer_tls_ca_file", str(peers / "ca.crt"),
                "--peer_tls_cert_file", str(peers / "gateway.crt"), "--peer_tls_key_file", str(peers / "gateway.key")))
            for name, rest, port, peer in (("gateway-a", 11001, 11011, 11021), ("gateway-b", 11002, 11012, 11022))
        ]
        self.peers, self.log = peers, self.replicas[0].log
        self.cable = Cable(CABLE_PORT, *(replica.port for replica in self.replicas))
        self.balancer = Cable(places.AGENT_PORT, *(replica.rest[1] for replica in self.replicas), host=places.GATEWAY)
        self.nats = Service("nats-server", places.RUN / "nats.log")

    def start(self):
        make_certificates(self.certificates, places.GATEWAY)
        make_certificates(self.peers, "127.0.0.1")
        self.start_nats()
        first, second = self.replicas
        first.serve()
        # What Ironic is given must be the same from both.
        second.state.mkdir(parents=True)
        for name in ("gateway-ca.crt", "gateway-ca.key"):
            shutil.copy(first.state / name, second.state / name)
        second.serve()
        self.cable.open()
        self.balancer.open()

    def start_nats(self):
        self.nats.start(["nats-server", "--addr", "127.0.0.1", "--port", str(self.NATS_PORT)])

    def count(self, event):
        return sum(replica.count(event) for replica in self.replicas)

    def holder(self):
        """The replica that the machine attached to last, and the other one."""
        second, first = sorted(self.replicas, key=lambda replica: replica.last("agent_attached"))
        return first, second

    def stop(self):
        self.balancer.close()
        self.cable.close()
        for replica in self.replicas:
            replica.service.stop()
        self.nats.stop()

    def authority(self):
        return (self.replicas[0].state / "gateway-ca.crt").read_text()


def make_certificates(directory, address):
    """A CA, and certificates for a gateway at that address and for agents."""
    here = places.REPOSITORY / "tests/ironic/lab"
    run([places.VENV / "bin/python", here / "certificates.py", directory, address])


def agent_files(certificates):
    """What the ramdisk of an agent needs that a gateway believes, by path."""
    credentials = {f"{CREDENTIALS}/{name}": (certificates / name).read_bytes() for name in ("ca.crt", "agent.crt", "agent.key")}
    return {"etc/ironic-python-agent.d/gateway.conf": OPTIONS.encode(), **credentials}


class Replica:
    """One process of a gateway."""

    UPSTREAM: tuple[str, ...] = ("--api_url", places.IRONIC_URL, "--inspection_callback_url", f"{places.IRONIC_URL}/v1/continue_inspection")

    def __init__(self, name, rest, port, certificates, more=()):
        self.rest, self.port, self.certificates, self.more = rest, port, certificates, more
        self.state = places.RUN / "gateway" / f"{name}-state"
        self.service = Service(name, places.RUN / f"{name}.log")
        self.log = self.service.log

    def serve(self):
        """Starts the process, for the first time or again."""
        if not places.SHIM.is_file():
            raise LabError(f"there is no {places.SHIM}; run `make ramdisk` first")
        self.state.mkdir(parents=True, exist_ok=True)
        starts, certificates = self.count("rest_listener_open"), self.certificates
        host, port = self.rest
        self.service.start([
            str(places.SHIM), "--gateway_url", URL, "--listen_host", host, "--listen_port", str(port),
            "--conductor_listen", f"0.0.0.0:{self.port}",
            *self.UPSTREAM,
            "--state_dir", str(self.state), "--grpc_tls_ca_file", str(certificates / "ca.crt"),
            "--grpc_tls_cert_file", str(certificates / "gateway.crt"), "--grpc_tls_key_file", str(certificates / "gateway.key"),
            *self.more,
        ])

        def is_up():
            self.service.check()
            return self.count("rest_listener_open") > starts

        wait_for(self.service.name, is_up, 60, self.log)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def count(self, event):
        """How often the log has an event."""
        return self.text().count(f"event={event}")

    def last(self, event):
        """The last line of an event, which begins with its time; empty if there was none."""
        return max((line for line in self.text().splitlines() if f"event={event}" in line), default="")


class OwnReplica(Replica):
    """A gateway without Ironic, whose nodes are in files."""

    UPSTREAM = ()
