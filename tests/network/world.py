"""Namespaces with a machine and its network: at one end of a cable the ramdisk's own tree, in which
`ironic-agent network` runs, at the other a bridge with the servers of a case.

Everything is in user, mount, network and process namespaces that end with the first process in them.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

MAC = "52:54:00:00:00:01"
SECOND_MAC = "52:54:00:00:00:02"
PR_SET_PDEATHSIG = 1
DEADLINE = 60


class Failed(Exception):
    """What is not as it should be."""


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class World:
    """A machine with a card `eth0`, and the network at the other end of its cable.

    `base` is the tree of the ramdisk, `directory` is for this case alone, `programs` has the servers.
    """

    def __init__(self, base, directory, programs):
        self.base, self.directory, self.programs = Path(base), Path(directory), Path(programs)
        self.tree = self.directory / "tree"
        self.processes, self.began = [], 0.0
        self.log = self.directory / "network.log"
        self.command_line = ""
        self.server = subprocess.Popen(["unshare", "--net", "sleep", "1000"], preexec_fn=die_with_parent)
        self.make_tree()
        self.make_cables()

    def make_tree(self):
        shutil.copytree(self.base, self.tree, symlinks=True)
        for place in ("proc", "sys", "dev", "run", "tmp", "var/log", "var/lib/dhcpcd", "run/network"):
            (self.tree / place).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "proc", "proc", str(self.tree / "proc"))
        run("mount", "-t", "sysfs", "sysfs", str(self.tree / "sys"))
        for node in ("null", "urandom", "random"):
            (self.tree / "dev" / node).touch()
            run("mount", "--bind", f"/dev/{node}", str(self.tree / "dev" / node))

    def make_cables(self):
        """A bridge that is up before any card is, as a switch is; a second cable that is not plugged in yet."""
        deadline = time.monotonic() + DEADLINE
        while os.readlink(f"/proc/{self.server.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if time.monotonic() > deadline:
                raise Failed("there is no second network namespace")
            time.sleep(0.01)
        run("ip", "link", "set", "lo", "up")
        self.at_server("ip", "link", "set", "lo", "up")
        self.at_server("ip", "link", "add", "br0", "type", "bridge")
        self.at_server("ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
        self.plug("eth0", MAC)
        for name in ("p0", "p1"):
            self.at_server("ip", "link", "set", name, "up")
        self.at_server("ip", "link", "set", "p0", "master", "br0")
        self.at_server("ip", "link", "set", "br0", "up")
        self.at_server("ip", "address", "add", "192.0.2.1/24", "dev", "br0")
        self.at_server("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "br0", "nodad")
        self.wait("the bridge is ready", lambda: "tentative" not in self.at_server("ip", "-6", "address", "show", "dev", "br0"))

    def plug(self, name, mac, bridged=True):
        """Adds a card whose cable leads to the bridge, or to nothing."""
        run("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", f"s-{name}")
        run("ip", "link", "set", f"s-{name}", "netns", str(self.server.pid))
        if bridged:
            self.at_server("ip", "link", "set", f"s-{name}", "master", "br0")
            self.at_server("ip", "link", "set", f"s-{name}", "up")

    def hide_disks(self):
        """An empty list of disks, for a case to fill."""
        run("mount", "-t", "tmpfs", "none", str(self.tree / "sys/block"))

    def at_server(self, *words):
        return run("nsenter", "-t", str(self.server.pid), "-n", *words)

    def answers(self, address):
        """Whether the machine answers a ping of the network."""
        self.at_server(str(self.tree / "bin/busybox"), "ping", "-c", "1", "-W", "5", address)
        return True

    # Servers ----------------------------------------------------------------------------------

    def serve(self, name, *words):
        log = open(self.directory / f"{name}.log", "ab")  # noqa: SIM115, it lives as long as the process
        command = ["nsenter", "-t", str(self.server.pid), "-n", str(self.programs / "bin" / name), *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.processes.append(process)
        return process

    def dnsmasq(self, *options):
        """DHCPv4, DHCPv6 and router advertisements, without DNS."""
        process = self.serve(
            "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces",
            "--log-dhcp", "--no-ping", "--dhcp-authoritative", "--no-hosts", "--no-resolv", "--pid-file=",
            f"--dhcp-leasefile={self.directory}/leases", *options,
        )
        log = self.directory / "dnsmasq.log"

        def is_up():
            if process.poll() is not None:
                raise Failed(f"dnsmasq ended: {log.read_text()}")
            return "dnsmasq-dhcp" in log.read_text()

        self.wait("dnsmasq is up", is_up)

    def clients(self):
        """How those that have leases identify themselves, by address."""
        path = self.directory / "leases"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return {words[2]: words[4] for words in lines if len(words) == 5}

    def radvd(self, configuration):
        path = self.directory / "radvd.conf"
        path.write_text(configuration)
        self.serve("radvd", "--nodaemon", "--config", str(path), "--pidfile", f"{self.directory}/radvd.pid",
                   "--logmethod", "stderr", "--debug", "1")

    # The machine ------------------------------------------------------------------------------

    def start(self, command_line="", cards=("eth0",)):
        """Starts `ironic-agent network`, as the ramdisk's init does."""
        path = self.directory / "cmdline"
        path.write_text(f"BOOT_IMAGE=kernel {command_line}\n")
        run("mount", "--bind", str(path), str(self.tree / "proc/cmdline"))
        words = [word for card in cards for word in ("--card", card)]
        output = open(self.log, "ab")  # noqa: SIM115, it lives as long as the process
        self.began = time.monotonic()
        process = subprocess.Popen(
            ["chroot", str(self.tree), "/bin/ironic-agent", "network", *words], stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, preexec_fn=die_with_parent,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        self.processes.append(process)
        return process

    def ready(self, seconds=DEADLINE):
        """Waits until the init would go on; how long that took, and what was said."""
        path = self.tree / "run/network/ready"

        def is_ready():
            if self.processes[-1].poll() is not None:
                raise Failed(f"ironic-agent network ended: {self.said()}")
            return path.exists()

        self.wait("the network is ready", is_ready, seconds)
        return time.monotonic() - self.began, path.read_text().strip()

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def addresses(self, name):
        """Addresses with the length of their prefix, but for the link's own."""
        text = run("ip", "-json", "address", "show", "dev", name)
        found = json.loads(text)[0]
        return sorted(f"{item['local']}/{item['prefixlen']}" for item in found["addr_info"] if item["scope"] == "global")

    def routes(self, family="-4"):
        return run("ip", family, "route", "show")

    def mtu(self, name):
        return json.loads(run("ip", "-json", "link", "show", "dev", name))[0]["mtu"]

    def resolver(self):
        """The lines of resolv.conf that count."""
        path = self.tree / "etc/resolv.conf"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(("nameserver", "search", "domain"))]

    def wait(self, what, condition, seconds=DEADLINE):
        deadline = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds} s: {what}\n{self.evidence()}")
            time.sleep(0.02)

    def expect(self, condition, what):
        if not condition:
            raise Failed(f"{what}\n{self.evidence()}")

    def evidence(self):
        logs = [self.log, self.tree / "var/log/dhcp.log", *self.directory.glob("*.log")]
        parts = [f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in dict.fromkeys(logs) if log.exists()]
        shown = subprocess.run("ip address; ip route; ip -6 route", shell=True, capture_output=True, text=True, check=False)
        return "\n".join([*parts, "--- interfaces", shown.stdout])
