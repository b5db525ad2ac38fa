"""Machines that nobody can connect to, behind a gateway."""

import time

from .. import places, ramdisk, ssh
from ..gateway import URL, Gateway as GatewayService, Replicas as ReplicasService
from ..ironic import call
from ..process import wait_for
from .base import BOOT, CONFIG_DRIVE, Scenario, expect


class Gateway(Scenario):
    """No port leads to the machine, and its agent opens none. The cable between agent and gateway is cut and the gateway is
    killed, both while the image is being written."""

    title = "a gateway deploys a machine that has no open port"
    MACHINE = "mixed"
    images = ("whole-disk.raw",)
    # Seconds. An agent that lost two attachments soon after another waits up to half a minute, which is less than a request
    # of Ironic is held for.
    CUT, WRITING, BACK = 15, 60, 45
    HOOK = ramdisk.after_line("phase=write_image bytes=[1-9]", """listening=$(cat /proc/net/tcp /proc/net/tcp6 | grep -c ' 0A ')
echo "LISTENING ports=$listening shims=$(pidof ironic-shim | wc -w)" >/dev/console""")

    def __init__(self, lab, lane):
        super().__init__(lab, lane)
        self.gateway = self.make()

    def make(self):
        return GatewayService()

    @property
    def closed(self):
        """While this file is there, no port of the host leads to the machine."""
        return self.machine.directory / "no-forwards"

    def run(self):
        disk = self.machine.target
        self.ready("manageable")
        with self.step("a gateway runs, and the node is given its address"):
            self.closed.touch()
            self.gateway.start()
            files = {**self.gateway.files(), "etc/ramdisk.d/listening.sh": self.HOOK.encode()}
            built = f"file://{ramdisk.with_files('behind-gateway', files)}"
            self.node.set(driver_info__deploy_ramdisk=built, driver_info__rescue_ramdisk=built,
                          driver_info__kernel_append_params=f"%default% {GatewayService.KERNEL_PARAMETERS}")
        with self.step("inspect: the report comes through the gateway"):
            self.operation("inspect", "inspect")
            inventory = call("GET", f"{self.node.path}/inventory")["inventory"]
            macs = [interface["mac_address"] for interface in inventory["interfaces"]]
            expect(self.machine.mac in macs, f"the machine's MAC is not among {macs}", self.gateway.log)
        with self.step("provide: the agent cleans the disks"):
            self.node.set(automated_clean=True)
            mark = self.operation("clean", "provide")
            self.check_cleaned()
            self.check_no_restart(mark)
        mark = self.deploy_amid_failures(disk)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark)
        with self.step("active: image, partition table and config drive are on the disk"):
            self.check_whole_disk(self.image, disk)
        self.rescue()

    def rescue(self):
        """Steps; nobody can log in from here, because no port leads to the machine."""
        words = "the machine was handed over to a rescuer"
        before = self.said().count(words)
        with self.step("rescue: the ramdisk takes the password and says farewell"):
            self.operation("rescue", "rescue", rescue_password="correct horse 7 battery")
            wait_for("the end of the agent", lambda: self.said().count(words) > before, 60, self.console_log)
        with self.step("rescue: the gateway serves this node no more"):
            uuid = self.node.uuid
            wait_for("the end of the node's service", lambda: not self.gateway.answers(uuid), 30, self.gateway.log)
        with self.step("unrescue: the system boots again"):
            self.check_boots(self.operation("unrescue", "unrescue"))

    def failures(self):
        """What fails while the image is written, one after the other: what it is, and how it is done."""
        yield f"the cable is cut for {self.CUT} s", self.cut
        yield "the gateway is killed and started again", self.kill

    def kill(self):
        self.gateway.replica.service.kill()
        self.gateway.replica.serve()

    def deploy_amid_failures(self, disk):
        """Steps; where the deployment's events begin."""
        gateway, mark = self.gateway, self.console.mark()
        with self.step("active: the agent writes the image, and listens nowhere"):
            self.request(self.image, disk)
            self.node.set(instance_info__image_source=self.lab.publish_slowly(self.image, self.WRITING))
            self.view.operation("deploy")
            self.node.begin("active", configdrive=CONFIG_DRIVE)
            wait_for("progress of write_image", lambda: self.written(mark), BOOT, self.console_log, gateway.log)
            wait_for("a line about the agent's ports", lambda: "LISTENING" in self.said(), 30, self.console_log)
            expect("LISTENING ports=0 shims=0" in self.said(), "a port is open, or a shim runs", self.console_log)
            for port in (places.AGENT_PORT, places.SSH_PORT):
                expect(not ssh.is_open(self.machine.address, port), f"port {port} leads to the machine")
        with self.step("active: Ironic was given the gateway's URL and CA"):
            internal = self.node.get()["driver_internal_info"]
            expect(internal.get("agent_url") == f"{URL}/nodes/{self.node.uuid}", f"the callback URL is {internal.get('agent_url')}")
            given = places.RUN / "state/certificates" / f"{self.node.uuid}.crt"
            expect(given.read_text().strip() == gateway.authority().strip(), f"{given} is not the gateway's CA", gateway.log)
        for title, failure in self.failures():
            with self.step(f"active: {title}, and the agent comes back"):
                self.come_back_after(mark, failure)
        with self.step("active: the deployment goes on and ends"):
            self.node.wait("active", BOOT, started_by="active")
            self.view.operation(None)
            self.lab.deployed[self.machine.name] = self.image.name
            self.check_no_restart(mark)
        return mark

    def cut(self):
        self.gateway.cable.cut()
        time.sleep(self.CUT)
        self.gateway.cable.mend()

    def come_back_after(self, mark, failure):
        """What fails while the image is being written: that goes on, and the agent attaches again."""
        ended = self.console.find("milestone", mark, event="command_finished", command="execute_deploy_step")
        expect(not ended, "the image is written already: there is nothing to disturb", self.console_log)
        attached, before = self.gateway.count("agent_attached"), self.written(mark)
        failure()
        wait_for("the agent's next attachment", lambda: self.gateway.count("agent_attached") > attached, self.BACK,
                 self.gateway.log, self.console_log)
        # A gateway that was waiting takes the machine in a fraction of the time between two lines of progress.
        wait_for("progress of write_image", lambda: self.written(mark) > before, 30, self.console_log)

    def written(self, mark):
        """Bytes of the image that are written."""
        return max((int(event.values["bytes"]) for event in self.console.events[mark:]
                    if event.kind == "progress" and event.values.get("phase") == "write_image"), default=0)

    def said(self):
        return self.console_log.read_text(errors="replace")

    def tidy(self):
        self.gateway.stop()
        self.closed.unlink(missing_ok=True)
        if self.machine.name in self.lab.nodes:
            self.node.remove("driver_info__kernel_append_params")
            plain = f"file://{places.RAMDISK / 'initramfs'}"
            self.node.set(driver_info__deploy_ramdisk=plain, driver_info__rescue_ramdisk=plain)


class Replicas(Gateway):
    """Two gateways behind one address. Each is killed while it holds the machine and the image is written, the second one
    while NATS is away."""

    title = "two gateways deploy a machine, and each of them dies"

    def make(self):
        return ReplicasService()

    def failures(self):
        yield "the gateway that holds the machine is killed", self.kill
        yield "that one runs again, NATS is killed, then the other gateway", self.kill_both

    def kill(self):
        self.killed, _ = self.gateway.holder()
        self.killed.service.kill()

    def kill_both(self):
        connected = self.killed.count("directory_connected")
        self.killed.serve()
        wait_for("its connection to NATS", lambda: self.killed.count("directory_connected") > connected, 30, self.killed.log)
        _, other = self.gateway.holder()
        expect(other is self.killed, "the machine is not where it should be", self.killed.log)
        self.gateway.nats.kill()
        holder, _ = self.gateway.holder()
        holder.service.kill()
