"""Many simulated machines at a time, behind two gateways that share them."""

import hashlib
import re

from .. import places
from ..errors import LabError
from ..gateway import Replicas
from ..ironic import call
from ..process import wait_for
from ..simulated import Rack, image
from .base import Scenario, expect


class Fifty(Scenario):
    """A real Ironic cleans and deploys fifty machines. While they write their images a gateway is killed, and when it runs again
    NATS."""

    title = "two gateways clean and deploy fifty simulated machines, while one of them and NATS die"
    COUNT, IMAGE = 50, "fifty.raw"
    # Seconds: of all machines together, and until agents are back.
    ALL, BACK = 900, 60
    # Bytes in a second, for as long as something is to fail: no machine has all of the image then.
    TRICKLE = 4096

    def __init__(self, lab, lane):
        super().__init__(lab, lane)
        self.gateway = Replicas()
        # Agents try the gateways in random order.
        conductor = ",".join(f"https://{places.GATEWAY}:{replica.port}" for replica in self.gateway.replicas)
        self.rack = Rack(self.COUNT, conductor, self.gateway.certificates)
        self.content = image()

    def run(self):
        gateway = self.gateway
        with self.step("two gateways and NATS run"):
            gateway.start()
        with self.step(f"{self.COUNT} machines are enrolled"):
            for machine in self.rack.machines:
                machine.enrol()
            self.rack.start()
            self.ask_all("manage", "manageable")
        with self.step("provide: all are cleaned through the gateways"):
            self.ask_all("provide", "available")
        with self.step("active: all write the image"):
            self.request_image()
            self.ask_all("active")
            wait_for("the first bytes of all images", lambda: self.begun() == self.COUNT, self.ALL, *self.logs())
        with self.step("active: a gateway is killed, and its machines come to the other"):
            held = {replica.service.name: self.held_by(replica) for replica in gateway.replicas}
            expect(all(held.values()), f"the gateways have {held} machines: one of them has none", *self.logs())
            killed, other = gateway.replicas
            killed.service.kill()
            wait_for("all machines at the other gateway", lambda: self.held_by(other) == self.COUNT, self.BACK, other.log)
        with self.step("active: it runs again, NATS is killed and comes back"):
            self.come_and_go(killed)
        with self.step("active: all end active"):
            self.check_writing()
            del self.lab.rates[self.IMAGE]
            self.wait_for_all("active")
        with self.step("active: each disk holds the image, which was fetched once"):
            missing = {machine.number for machine in self.rack.machines} - set(self.rack.holds(self.content))
            expect(not missing, f"the image is not on the disks of {sorted(missing)}")
            sent, size = self.lab.web.sent[self.IMAGE], len(self.content)
            expect(sent == size * self.COUNT, f"{sent / size:.2f} images were fetched by {self.COUNT} machines", *self.logs())

    def come_and_go(self, replica):
        """A gateway that was killed runs again, and both lose NATS for a while."""
        replicas = self.gateway.replicas
        connected = replica.count("directory_connected")
        replica.serve()
        wait_for("its connection to NATS", lambda: replica.count("directory_connected") > connected, 30, replica.log)
        away = [each.count("directory_away") for each in replicas]
        self.gateway.nats.kill()
        wait_for("the loss of NATS at both gateways", lambda: all(
            each.count("directory_away") > before for each, before in zip(replicas, away, strict=True)), 30, *self.logs())
        connected = [each.count("directory_connected") for each in replicas]
        self.gateway.start_nats()
        wait_for("NATS at both gateways", lambda: all(
            each.count("directory_connected") > before for each, before in zip(replicas, connected, strict=True)), 60, *self.logs())

    def request_image(self):
        """The image comes slowly, so that what fails does so while it is written."""
        path = places.RUN / self.IMAGE
        path.write_bytes(self.content)
        self.lab.rates[self.IMAGE] = self.TRICKLE
        url = self.lab.publish(path)
        instance = {"image_source": url, "image_os_hash_algo": "sha512", "image_os_hash_value": hashlib.sha512(self.content).hexdigest(),
                    "image_disk_format": "raw", "image_type": "whole-disk"}
        for machine in self.rack.machines:
            call("PATCH", f"/v1/nodes/{machine.uuid}", [{"op": "add", "path": "/instance_info", "value": instance}])

    def begun(self):
        """How many machines have begun to fetch the image."""
        return self.lab.web.begun.get(self.IMAGE, 0)

    def held_by(self, replica):
        """How many machines have attached to this gateway last."""
        last: dict[str, tuple[str, int]] = {}
        for each in self.gateway.replicas:
            for time, node in re.findall(r"^(\S+) .*event=agent_attached node=(\S+)", each.text(), re.MULTILINE):
                last[node] = max(last.get(node, ("", 0)), (time, each.port))
        return sum(port == replica.port for _, port in last.values())

    def check_writing(self):
        """What failed must have failed in the middle."""
        states = self.states()
        expect("active" not in states.values(), f"machines are active already: {states}", *self.logs())

    def states(self):
        return {uuid: node["provision_state"] for uuid, node in self.rack.nodes().items()
                if uuid in {machine.uuid for machine in self.rack.machines}}

    def ask_all(self, verb, goal=None):
        for machine in self.rack.machines:
            call("PUT", f"/v1/nodes/{machine.uuid}/states/provision", {"target": verb})
        if goal:
            self.wait_for_all(goal)

    def wait_for_all(self, goal):
        ours = {machine.uuid for machine in self.rack.machines}

        def is_reached():
            nodes = [node for uuid, node in self.rack.nodes().items() if uuid in ours]
            for node in nodes:
                if node["provision_state"].endswith(("failed", "error")) or node["maintenance"]:
                    raise LabError(f"{node['name']} went to `{node['provision_state']}` instead of `{goal}`: "
                                   f"{node['last_error'] or node['maintenance_reason']}", *self.logs())
            return all(node["provision_state"] == goal and not node["target_provision_state"] for node in nodes)

        wait_for(f"{goal} of all machines", is_reached, self.ALL, *self.logs(), pause=1)

    def logs(self):
        return (places.RUN / "ironic.log", *(replica.log for replica in self.gateway.replicas))

    def tidy(self):
        self.rack.stop()
        self.gateway.stop()
