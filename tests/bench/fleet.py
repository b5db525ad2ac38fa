"""Calls of a node through a gateway, beside the same calls to an agent directly.

    fleet.py AGENT SHIM [--callers N,...] [--seconds N]

EXAMPLES names the directory with the examples `node_calls` and `watch_nodes` of the shim.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from gateway import Process
from loopback import free_port

NODE = "5d0f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e11"
EXAMPLES = pathlib.Path(os.environ["EXAMPLES"])
TIMEOUT = 60
UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1, "s": 1e3}
CALLS = re.compile(r"(\d+) calls/s, p50 Some\(([\d.]+)(\w+)\), p99 Some\(([\d.]+)(\w+)\)")
CHARGED = re.compile(r"(\d+) calls per second of processor time")


def card():
    """The MAC address of a network card of this machine: a simulated machine has those."""
    for device in sorted(pathlib.Path("/sys/class/net").iterdir()):
        if (device / "device").exists():
            return (device / "address").read_text().strip()
    sys.exit("this machine has no network card, by which the simulated machine would be looked up")


def calls(url, callers, seconds, process):
    """Calls per second, the median and the 99th percentile in ms, and calls for each second of the process."""
    argv = [EXAMPLES / "node_calls", url, NODE, callers, seconds, process.child.pid]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=seconds + TIMEOUT)
    found, charged = CALLS.search(done.stdout), CHARGED.search(done.stdout)
    if done.returncode or not found or not charged:
        sys.exit(f"node_calls says: {done.stdout}{done.stderr}")
    rate, half, half_unit, most, most_unit = found.groups()
    return int(rate), float(half) * UNITS[half_unit], float(most) * UNITS[most_unit], int(charged[1])


def wait(url, process):
    """Until a call is answered."""
    end = time.monotonic() + TIMEOUT
    while not reaches(url):
        process.check()
        if time.monotonic() > end:
            sys.exit(f"{url} does not answer within {TIMEOUT} s: {process.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def reaches(url):
    argv = [str(EXAMPLES / "node_calls"), url, NODE, "1", "1"]
    done = subprocess.run(argv, capture_output=True, text=True)
    found = CALLS.search(done.stdout)
    return done.returncode == 0 and found is not None and int(found[1]) > 0


def machine(room, name):
    disks = room / name / "disks"
    disks.mkdir(parents=True)
    with open(disks / "sda", "wb") as disk:
        disk.truncate(16 << 20)
    return disks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("agent")
    parser.add_argument("shim")
    parser.add_argument("--callers", default="1,16")
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        room = pathlib.Path(directory)
        (room / "nodes").mkdir()
        (room / "nodes/node.json").write_text(json.dumps({"uuid": NODE, "macs": [card()]}))
        direct, fleet, conductor = free_port(), free_port(), free_port()
        processes = []
        try:
            gateway = Process([
                arguments.shim, "--gateway_url", f"http://127.0.0.1:{free_port()}", "--listen_host", "127.0.0.1",
                "--listen_port", free_port(), "--conductor_listen", f"127.0.0.1:{conductor}", "--state_dir", room / "gateway",
                "--node_dir", room / "nodes", "--fleet_listen", f"127.0.0.1:{fleet}"], room / "gateway.log")
            processes.append(gateway)
            attached = Process([
                arguments.agent, "--simulate", machine(room, "attached"), "--grpc_listen", "none", "--state_dir",
                room / "attached/state", "--conductor", f"http://127.0.0.1:{conductor}"], room / "attached.log")
            processes.append(attached)
            alone = Process([
                arguments.agent, "--simulate", machine(room, "alone"), "--grpc_listen", f"127.0.0.1:{direct}", "--state_dir",
                room / "alone/state", "--standalone"], room / "alone.log")
            processes.append(alone)
            ways = (("directly", f"http://127.0.0.1:{direct}", alone), ("through the gateway", f"http://127.0.0.1:{fleet}", gateway))
            for _, url, process in ways:
                wait(url, process)
            print("| GetStatus | callers | calls/s | median | p99 | calls per second of processor time of the server called |")
            print("|---|---:|---:|---:|---:|---:|")
            for callers in map(int, arguments.callers.split(",")):
                found = {}
                for way, url, process in ways:
                    rate, half, most, charged = found[way] = calls(url, callers, arguments.seconds, process)
                    print(f"| {way} | {callers} | {rate} | {half:.3f} ms | {most:.3f} ms | {charged} |")
                ratio = found["through the gateway"][2] / found["directly"][2]
                print(f"| p99 through the gateway beside directly | {callers} | | | {ratio:.1f}× | |")
        finally:
            for process in processes:
                process.kill()
    print()
    subprocess.run([EXAMPLES / "watch_nodes"], check=True, timeout=300)


if __name__ == "__main__":
    main()
