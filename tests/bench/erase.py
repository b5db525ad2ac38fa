"""Erases the disks of a virtual machine with both agents, the machine's shape being the same.

The Python agent runs in our ramdisk too, with Debian's Python, its own environment and the programs
that it calls added to it; ours is asked through its REST server. Both get the same node: the defaults
of erasing by overwriting (one random pass, one of zeros), and as many disks at the same time as the row says.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/ironic"))
from lab import disks, places, setup  # noqa: E402
from lab.content import Archive, Packages  # noqa: E402
from lab.errors import LabError, last_lines  # noqa: E402
from lab.process import Service, wait_for  # noqa: E402

VENV = REPOSITORY / "target/differential/venv"
ROOM = REPOSITORY / "target/erase-bench"
MIB = 1 << 20
TOKEN = "t" * 43
SETTINGS = f"[DEFAULT]\nstandalone = true\nagent_token = {TOKEN}\n"
# What the Python agent calls when it looks for disks and erases them, beyond what our ramdisk has.
# Parts of the C library that are empty today; what PyPI has built for older systems is linked with them.
FORMER_LIBRARIES = ("libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1")
PROGRAMS = {"util-linux": ["/bin/lsblk"], "udev": ["/bin/udevadm"], "smartmontools": ["/usr/sbin/smartctl"]}
TIMEOUT = 900


class Machine:
    """A virtual machine without Ironic: two emulated processors and disks that are as slow as ordered."""

    def __init__(self, name, count, mib, rate):
        self.console = ROOM / f"{name}.console"
        self.console.unlink(missing_ok=True)
        self.rate, self.service = rate, Service("the emulator", ROOM / f"{name}.qemu")
        self.disks = [ROOM / f"{name}-{number}.disk" for number in range(count)]
        for path in self.disks:
            with open(path, "wb") as file:
                file.truncate(mib * MIB)
            disks.scatter(path)

    @contextmanager
    def running(self, initramfs, port):
        words = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024",
            "-display", "none", "-vga", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{self.console}",
            "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:9999", "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-kernel", str(places.RAMDISK / "kernel"), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet no_timer_check",
        ]
        for number, path in enumerate(self.disks):
            words += ["-drive", f"if=none,id=disk{number},file={path},format=raw,cache=unsafe,throttling.bps-write={self.rate * MIB}",
                      "-device", f"virtio-blk-pci,drive=disk{number},serial=BENCH-{number}"]
        self.service.start(words)
        try:
            yield
        finally:
            self.service.stop()

    def wait_for(self, phrase):
        def said():
            self.service.check()
            text = self.console.read_text(errors="replace") if self.console.exists() else ""
            if "Traceback" in text:
                raise LabError("the Python agent failed", self.console)
            return text if phrase in text else None

        return wait_for(f"`{phrase}` on the console", said, TIMEOUT, self.console)

    def check_erased(self):
        for path in self.disks:
            if (place := disks.first_data(path)) is not None:
                raise LabError(f"{path.name} has something at byte {place}", self.console)


def ours(machine, rounds, port):
    """Seconds of the clean step by number of disks at the same time."""
    with appended("ours", {"etc/ironic-python-agent.d/bench.conf": SETTINGS}) as initramfs, machine.running(initramfs, port):
        wait_for("the agent's REST server", lambda: machine.service.check() or is_served(port), TIMEOUT, machine.console)
        found = {}
        node = {"uuid": "0c3f8f5e-7d0a-4c3f-9a55-0d8f4d6d7a10", "properties": {}, "driver_info": {}, "instance_info": {}}
        # The first step waits for a disk large enough to be the root disk, of which there is none. The Python agent
        # does that when it looks for its managers.
        ask(port, f"/v1/commands/?wait=true&agent_token={TOKEN}",
            {"name": "clean.get_clean_steps", "params": {"node": node, "ports": []}})
        for concurrency in rounds:
            began = time.monotonic()
            node["driver_internal_info"] = {"disk_erasure_concurrency": concurrency}
            step = {"interface": "deploy", "step": "erase_devices", "priority": 10}
            started = ask(port, f"/v1/commands/?wait=false&agent_token={TOKEN}",
                          {"name": "clean.execute_clean_step", "params": {"step": step, "node": node, "ports": []}})

            def ended():
                machine.service.check()
                answer = ask(port, f"/v1/commands/{started['id']}?agent_token={TOKEN}")
                return answer if answer["command_status"] != "RUNNING" else None

            answer = wait_for("the end of the step", ended, TIMEOUT, machine.console, pause=0.1)
            if answer["command_status"] != "SUCCEEDED":
                raise LabError(f"erase_devices: {answer['command_error']}", machine.console)
            found[concurrency] = time.monotonic() - began
        return found


def python(machine, rounds, port):
    """The same of the Python agent."""
    version = re.findall(r"^version = (\d+\.\d+)", (VENV / "pyvenv.cfg").read_text(), re.M)[0]
    script = f"PYTHONPATH=/opt/agent /usr/bin/python{version} /opt/erase_peer.py {' '.join(map(str, rounds))} >/dev/console 2>&1\n"
    files = {"etc/ironic-python-agent.d/bench.conf": SETTINGS, "etc/ramdisk.d/erase.sh": script,
             "opt/erase_peer.py": (HERE / "erase_peer.py").read_text()}
    with appended("python", files, version) as initramfs, machine.running(initramfs, port):
        text = machine.wait_for("ERASED everything")
        rows = re.findall(r"ERASED disks=(\d+) concurrency=(\d+) seconds=(\S+)", text)
        if any(int(count) != len(machine.disks) for count, _, _ in rows) or len(rows) != len(rounds):
            raise LabError(f"not all disks were erased: {rows}", machine.console)
        return {int(concurrency): float(seconds) for _, concurrency, seconds in rows}


@contextmanager
def appended(name, files, python_version=None):
    """Our ramdisk with files appended, and with the Python agent if a version of Python is given."""
    path = ROOM / f"{name}.initramfs"
    with tempfile.TemporaryDirectory(dir=ROOM) as scratch:
        tree = Path(scratch) / "tree"
        for file, text in files.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_text(text)
        if python_version:
            add_python(tree, python_version)
        packed = subprocess.run(["gzip", "-1"], input=Archive().pack(tree), stdout=subprocess.PIPE, check=True).stdout
    path.write_bytes((places.RAMDISK / "initramfs").read_bytes() + packed)
    yield path
    path.unlink()


def add_python(tree, version):
    sysroot = Packages().sysroot(
        [f"python{version}-minimal", f"libpython{version}-minimal", f"libpython{version}-stdlib", *PROGRAMS])
    library = f"usr/lib/python{version}"
    modules = [f"/{path.relative_to(sysroot.root)}" for path in sorted((sysroot.root / library / "lib-dynload").glob("*.so"))]
    sysroot.install(tree, [f"/usr/bin/python{version}", *modules, *(file for files in PROGRAMS.values() for file in files)])
    for name in FORMER_LIBRARIES:
        shutil.copy(sysroot.find(f"/lib/x86_64-linux-gnu/{name}").resolve(), tree / "lib/x86_64-linux-gnu" / name)
    # The ramdisk's own files have to stay as its manifest says, and the C library is one of them.
    unwanted = shutil.ignore_patterns("test", "tests", "pip", "setuptools", "babel", "lib-dynload")
    shutil.copytree(sysroot.root / library, tree / library, dirs_exist_ok=True, ignore=unwanted)
    shutil.copytree(VENV / f"lib/python{version}/site-packages", tree / "opt/agent", ignore=unwanted)


def ask(port, path, body=None):
    # Standalone, the REST server has no certificate.
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Content-Type": "application/json"},
                                     data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def is_served(port):
    try:
        return ask(port, "/v1/status")
    except OSError:
        return None


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disks", type=int, default=8)
    parser.add_argument("--mib", type=int, default=32, help="the size of each disk")
    parser.add_argument("--rate", type=int, default=8, help="MiB that each disk writes in a second")
    arguments = parser.parse_args()
    setup.find_ramdisk(places.RAMDISK, "x86_64")
    setup.prepare(print)
    ROOM.mkdir(parents=True, exist_ok=True)
    rounds = sorted({1, 4, arguments.disks})
    shape = (arguments.disks, arguments.mib, arguments.rate)
    try:
        found = {}
        for name, erase in (("python", python), ("ours", ours)):
            machine = Machine(name, *shape)
            found[name] = erase(machine, rounds, free_port())
            machine.check_erased()
    except LabError as error:
        for log in error.logs:
            print(*last_lines(log), sep="\n", file=sys.stderr)
        sys.exit(f"erase: {error}")
    default = found["python"][1]
    print(f"Erasing {arguments.disks} disks of {arguments.mib} MiB that write {arguments.rate} MiB/s each:\n")
    print("| at the same time | Python agent | ours | ours is faster than the Python agent's default |\n|---|---|---|---|")
    for concurrency in rounds:
        note = " (default of both)" if concurrency == 1 else ""
        mine = found["ours"][concurrency]
        print(f"| {concurrency}{note} | {found['python'][concurrency]:.1f} s | {mine:.1f} s | {default / mine:.1f}× |")


if __name__ == "__main__":
    main()
