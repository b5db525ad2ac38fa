"""Measures power-on to first heartbeat of a virtual machine, and where the time goes. Wants an idle machine.

The kernel and the ramdisk of RAMDISK (target/ramdisk) are given to the firmware, as in the tests with a real Ironic. Boots on
the networks that are compared take turns, so that whatever else the machine does falls on both.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("tools", "tests/ironic", "tests/release")]

from debian import TARGET  # noqa: E402
from lab import namespace, setup  # noqa: E402
from lab.errors import LabError  # noqa: E402
from machine import PORT, Failed, Ironic, Machine, node_of, plain_uefi  # noqa: E402

# What QEMU's emulated network is, the address of this machine in it, and the loopback address behind that.
NETWORKS = {"ipv4": ("user,ipv6=off", "10.0.2.2", "127.0.0.1"), "ipv6": ("user,ipv4=off", "[fec0::2]", "::1")}
FIRMWARE = {"uefi": plain_uefi, "bios": None}
MILESTONES = ("init", "checked", "drivers", "programs", "network")
STAGES = ("firmware", "kernel", "checks", "drivers", "programs", "network", "heartbeat")


class Boots:
    """All that a boot needs."""

    def __init__(self, programs: Path, room: Path, arguments: argparse.Namespace):
        self.programs, self.room, self.arguments = programs, room, arguments
        self.ironics = {name: Ironic(NETWORKS[name][2]) for name in arguments.network}
        self.number = 0

    def boot(self, network: str) -> dict[str, float]:
        """Boots once; seconds of each stage, and of all."""
        self.number += 1
        directory, arguments = self.room / f"{self.number}-{network}", self.arguments
        directory.mkdir()
        firmware = FIRMWARE[arguments.firmware]
        words = firmware(self.programs, directory) if firmware else []
        line = f"console=ttyS0 quiet no_timer_check ipa-api-url=http://{NETWORKS[network][1]}:{PORT} {arguments.parameters}"
        media = ["-kernel", str(arguments.ramdisk / "kernel"), "-initrd", str(arguments.ramdisk / "initramfs"), "-append", line.strip()]
        kind = type("OnNetwork", (Machine,), {"network": NETWORKS[network][0]})
        with kind(self.programs, directory, self.number, words, media) as machine:
            machine.wait("the init", lambda: "milestone event=init" in machine.said())
            init = time.monotonic() - machine.power_on
            machine.wait_for_heartbeat(self.ironics[network])
            total = self.ironics[network].heard[node_of(machine.mac)] - machine.power_on
            # The console is behind.
            machine.wait_for("milestone event=network", 10)
            return stages(machine.said(), init, total)


def stages(console: str, init: float, total: float) -> dict[str, float]:
    """Seconds of each stage. `init` is when the init spoke, of the same clock as `total`; the milestones are of the kernel's clock."""
    reached = dict(re.findall(r"milestone event=(\w+) uptime=([0-9.]+)", console))
    times = [float(reached[name]) for name in MILESTONES]
    firmware = init - times[0]
    ends = [firmware, *(firmware + each for each in times), total]
    found = {name: end - begin for name, begin, end in zip(STAGES, [0.0, *ends[:-1]], ends, strict=True)}
    return {**found, "all": total}


def row(name: str, values: Iterable[float]) -> str:
    listed = sorted(values)
    return f"| {name} | {statistics.median(listed):.2f} | {listed[0]:.2f} | {listed[-1]:.2f} |"


def report(network: str, boots: list[dict[str, float]]) -> None:
    print(f"\n{network}: seconds of {len(boots)} boots\n\n| | median | lowest | highest |\n|---|---:|---:|---:|")
    for name in (*STAGES, "all"):
        print(row("power-on to first heartbeat" if name == "all" else name, (boot[name] for boot in boots)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boots", type=int, default=7, help="on each network (default: 7)")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: both, one after the other")
    parser.add_argument("--firmware", choices=FIRMWARE, default="uefi", help="default: uefi")
    parser.add_argument("--parameters", default="", help="more kernel parameters")
    parser.add_argument("--at-most", type=float, metavar="SECONDS", help="end with status 1 if a median is above it")
    arguments = parser.parse_args()
    if arguments.boots < 1:
        parser.error("--boots: at least 1")
    arguments.ramdisk = Path(os.environ.get("RAMDISK", TARGET / "ramdisk")).absolute()
    for name in ("kernel", "initramfs"):
        if not (arguments.ramdisk / name).is_file():
            parser.error(f"there is no {arguments.ramdisk / name}; `make ramdisk` makes it")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    if not namespace.is_inside():
        setup.use_programs(print)
        namespace.check()
        return namespace.run_inside(0)
    # The first process of a namespace ends by no signal that it does not handle.
    for signal_number in namespace.SIGNALS:
        signal.signal(signal_number, lambda *_: sys.exit(130))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.network}
    with tempfile.TemporaryDirectory(prefix="boot-time-", dir=TARGET) as room:
        boots = Boots(setup.programs(), Path(room), arguments)
        for number in range(arguments.boots):
            for network in arguments.network:
                found[network].append(boots.boot(network))
                print(f"{network} {number + 1}: {found[network][-1]['all']:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    for network, each in found.items():
        report(network, each)
    medians = [statistics.median(boot["all"] for boot in each) for each in found.values()]
    return 1 if arguments.at_most and max(medians) > arguments.at_most else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LabError, Failed) as problem:
        sys.exit(f"boot_time: {problem}")
