"""Ironic: its process, and a client of its API."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import places, releases
from .errors import LabError
from .process import Service, run, wait_for

# All that there are; the first four are Ironic's default.
HOOKS = ("ramdisk-error,validate-interfaces,ports,architecture,accelerators,boot-mode,cpu-capabilities,cpus,extra-hardware,"
         "local-link-connection,memory,parse-lldp,pci-devices,physical-network,raid-device,root-device")
ACCELERATOR = "virtio source of random numbers"
# An emulated timer that a busy host delays is not a broken one (no_timer_check).
KERNEL_PARAMETERS = "console=ttyS0 quiet no_timer_check ramdisk.figures=1"


class Ironic:
    """The service, from its configuration file to its end."""

    def __init__(self, say):
        """`say` hears what a release lacks."""
        self.say = say
        self.log = places.RUN / "ironic.log"
        self.service = Service("ironic", places.RUN / "ironic.out")

    def start(self):
        configuration = places.RUN / "ironic.conf"
        for directory in ("images", "master_images", "tftp/master", "certificates", "locks"):
            (places.RUN / "state" / directory).mkdir(parents=True)
        (places.RUN / "agent-logs").mkdir()
        # JSON is YAML. The machines' source of random numbers stands for something that accelerates.
        (places.RUN / "accelerators.yaml").write_text(json.dumps({"pci_devices": [
            {"vendor_id": "1af4", "device_id": number, "type": "RNG", "device_info": ACCELERATOR}
            for number in ("1005", "1044")
        ]}))
        template = (Path(__file__).parent / "ironic.conf.in").read_text()
        for name in ("GATEWAY", "RUN", "RAMDISK", "RAMDISK_AARCH64", "IRONIC_PORT", "IRONIC_URL", "IMAGES_URL"):
            template = template.replace(f"@{name}@", str(getattr(places, name)))
        release = releases.current()
        hooks, missing = release.hooks(HOOKS)
        self.say(f"{release}" + (f", which lacks the hooks {', '.join(missing)}" if missing else ""))
        # Ironic does not start with IPMI where the program is not there.
        has_ipmi = shutil.which("ipmitool") is not None
        values = {"KERNEL_PARAMETERS": KERNEL_PARAMETERS, "HOOKS": ",".join(hooks), "IPMI_HARDWARE": ",ipmi" if has_ipmi else "",
                  "IPMI_POWER": ",ipmitool" if has_ipmi else ""}
        for name, value in values.items():
            template = template.replace(f"@{name}@", value)
        configuration.write_text(template)
        programs = release.venv / "bin"
        run([programs / "ironic-dbsync", "--config-file", configuration, "create_schema"])
        path = f"{programs}:{os.environ['PATH']}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.service.start([str(programs / "ironic"), "--config-file", str(configuration)], {"PATH": path})
        wait_for("Ironic's API and conductor", self.is_up, 120, self.service.log, self.log)

    def is_up(self):
        self.service.check()
        try:
            answer = call("GET", "/v1/conductors")
        except LabError:
            return False
        return any(conductor["alive"] for conductor in answer["conductors"])

    def stop(self):
        self.service.stop(timeout=15)


def call(method, path, body=None):
    """One request to the API; a node that is locked is asked again for a while."""
    request = urllib.request.Request(
        places.IRONIC_URL + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "X-OpenStack-Ironic-API-Version": "1.95",
            "Content-Type": "application/json",
            "Accept": "application/json",
        },
    )
    for _ in range(40):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read()
                return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code == 409 and "locked" in text:
                time.sleep(0.5)
                continue
            raise LabError(f"{method} {path} answered {error.code}: {text}", places.RUN / "ironic.log") from error
        except OSError as error:
            raise LabError(f"{method} {path}: Ironic does not answer ({error}); has it ended?",
                           places.RUN / "ironic.out", places.RUN / "ironic.log") from error
    raise LabError(f"{method} {path}: the node stayed locked", places.RUN / "ironic.log")


class Node:
    """A node, driven from state to state."""

    GOALS = {"manage": "manageable", "inspect": "manageable", "provide": "available", "active": "active",
             "deleted": "available", "rescue": "rescue", "unrescue": "active", "rebuild": "active",
             "clean": "manageable", "service": "active"}

    def __init__(self, uuid, console_log, watch):
        """`watch(provision_state, power_state, step)` hears of every change."""
        self.uuid, self.path, self.watch, self.last = uuid, f"/v1/nodes/{uuid}", watch, None
        # What the agent said that it was doing, as Ironic shows it, without repetitions.
        self.said = []
        self.logs = (places.RUN / "ironic.log", console_log)

    @classmethod
    def enrol(cls, machine, watch):
        created = call("POST", "/v1/nodes", machine.node_document())
        call("POST", "/v1/ports", {"node_uuid": created["uuid"], "address": machine.mac})
        return cls(created["uuid"], machine.console_log, watch)

    def get(self):
        return call("GET", self.path)

    def set(self, **properties):
        """Replaces properties; `a__b` means `/a/b`."""
        call("PATCH", self.path, [
            {"op": "add", "path": "/" + name.replace("__", "/"), "value": value} for name, value in properties.items()
        ])

    def remove(self, name):
        """Takes a property away; `a__b` means `/a/b`; it may be gone already."""
        try:
            call("PATCH", self.path, [{"op": "remove", "path": "/" + name.replace("__", "/")}])
        except LabError as error:
            if "non-existent" not in str(error):
                raise

    def ports(self):
        return call("GET", f"/v1/ports/detail?node_uuid={self.uuid}")["ports"]

    def begin(self, verb, **arguments):
        call("PUT", f"{self.path}/states/provision", {"target": verb, **arguments})

    def do(self, verb, seconds, **arguments):
        """Asks for a transition and waits for its end."""
        self.begin(verb, **arguments)
        return self.wait(self.GOALS[verb], seconds, started_by=verb)

    def wait(self, goal, seconds, started_by=""):
        deadline = time.monotonic() + seconds
        busy_since = time.monotonic()
        moved = False
        while True:
            node = self.look()
            state = node["provision_state"]
            moved = moved or node["target_provision_state"] is not None
            # Right after the request the old state may still be shown, and it may be the goal.
            settled = node["target_provision_state"] is None and (moved or time.monotonic() - busy_since > 2)
            if state == goal and settled and node["reservation"] is None:
                return node
            # Ironic sets maintenance some moments before the state, and holds the node meanwhile.
            gave_up = node["maintenance"] and node["reservation"] is None
            if state != goal and state.endswith(("failed", "error")) or gave_up:
                raise LabError(
                    f"{started_by}: the node went to `{state}` instead of `{goal}`: "
                    f"{node['last_error'] or node['maintenance_reason']}", *self.logs)
            if time.monotonic() > deadline:
                raise LabError(f"{started_by}: the node is in `{state}`, not in `{goal}`, after {seconds} s", *self.logs)
            time.sleep(0.4)

    def look(self):
        node = self.get()
        step = next((node[kind]["step"] for kind in ("clean_step", "deploy_step", "service_step") if node.get(kind)), None)
        message = node["driver_internal_info"].get("agent_status_message")
        if message and self.said[-1:] != [message]:
            self.said.append(message)
        seen = (node["provision_state"], node["power_state"], step)
        if seen != self.last:
            self.last = seen
            self.watch(*seen)
        return node
