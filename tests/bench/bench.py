"""Ours beside the Python agent: memory, start, throughput. Prints a Markdown table.

    bench.py ORACLE_PYTHON AGENT SHIM

Each figure is measured on both in this run, one after the other, on loopback. Ours is two
processes where the Python agent is one: both are counted, and the agent alone is shown.
"""

import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOKEN = "bench-token-0123456789-0123456789-abc"
STARTS = 7
SECONDS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_status(port, processes, timeout=60):
    """Seconds until GET /v1/status answers 200."""
    begin = time.monotonic()
    while time.monotonic() - begin < timeout:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as peer:
                peer.settimeout(5)
                peer.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if peer.recv(64).startswith(b"HTTP/1.1 200"):
                    return time.monotonic() - begin
        except OSError:
            pass
        for process in processes:
            if process.poll() is not None:
                sys.exit(f"{process.args} ended with {process.returncode}")
        time.sleep(0.0005)
    sys.exit("no answer in time")


class Peer:
    """One side: how its processes are started."""

    def __init__(self, room, commands):
        self.room, self.commands = room, commands

    def start(self, pin=None):
        port = free_port()
        directory = tempfile.mkdtemp(prefix="bench-", dir=self.room)
        log = open(os.path.join(directory, "log"), "wb")
        (pathlib.Path(directory) / "disks").mkdir()
        prefix = ["taskset", "-c", str(pin)] if pin is not None else []
        processes = [
            subprocess.Popen(prefix + [str(word) for word in argv], stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log)
            for argv in self.commands(port, pathlib.Path(directory))]
        return port, processes


def stop(processes):
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def starts(peer):
    taken = []
    for _ in range(STARTS):
        port, processes = peer.start()
        taken.append(await_status(port, processes))
        stop(processes)
    return statistics.median(taken)


def idle_memory(peer):
    port, processes = peer.start()
    await_status(port, processes)
    time.sleep(3)
    sizes = [resident(process.pid) for process in processes]
    stop(processes)
    return sizes


def throughput(peer):
    """Requests per second of wall time and per CPU second of the server on its one core."""
    port, processes = peer.start(pin=0)
    await_status(port, processes)
    before = sum(cpu_seconds(process.pid) for process in processes)
    # As many connections as the Python agent has worker threads.
    output = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", "-c10", f"-d{SECONDS}s",
         f"http://127.0.0.1:{port}/v1/status"],
        capture_output=True, text=True, timeout=SECONDS + 30, check=True).stdout
    used = sum(cpu_seconds(process.pid) for process in processes) - before
    stop(processes)
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"not every request was answered with 200:\n{output}")
    requests = int(re.findall(r"(\d+) requests in", output)[0])
    return requests / SECONDS, requests / used


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as room:
        measure(room, *sys.argv[1:4])
    ramdisk(pathlib.Path("target"))


def measure(room, python, agent, shim):
    theirs = Peer(room, lambda port, directory: [
        [python, ROOT / "tests/differential/oracle.py", port, TOKEN, directory / "no-disk",
         "plain"]])
    ours = Peer(room, lambda port, directory: [
        [agent, "--standalone", "--grpc-listen", f"unix:{directory}/agent.sock",
         "--agent_token", TOKEN, "--simulate", directory / "disks",
         "--state-dir", directory / "agent"],
        [shim, "--listen_host", "127.0.0.1", "--listen_port", port,
         "--agent", f"unix:{directory}/agent.sock", "--agent_token", TOKEN,
         "--conductor-listen", f"unix:{directory}/conductor.sock",
         "--state-dir", directory / "shim"]])

    their_memory, our_memory = idle_memory(theirs)[0], idle_memory(ours)
    their_start, our_start = starts(theirs), starts(ours)
    (their_rate, their_cpu), (our_rate, our_cpu) = throughput(theirs), throughput(ours)
    rows = [
        ("idle memory, agent (RSS)", f"{their_memory:.1f} MB", f"{our_memory[0]:.1f} MB",
         f"1/{their_memory / our_memory[0]:.1f}", "≤ 1/7"),
        ("idle memory, agent and shim (RSS)", f"{their_memory:.1f} MB", f"{sum(our_memory):.1f} MB",
         f"1/{their_memory / sum(our_memory):.1f}", "–"),
        (f"start of both to the first answer (median of {STARTS})", f"{their_start * 1000:.0f} ms",
         f"{our_start * 1000:.1f} ms", f"1/{their_start / our_start:.0f}", "≤ 1/20"),
        ("`GET /v1/status`, server on one core", f"{their_rate:.0f}/s", f"{our_rate:.0f}/s",
         f"{our_rate / their_rate:.1f}×", "≥ 10×"),
        ("the same, per CPU second of the server", f"{their_cpu:.0f}", f"{our_cpu:.0f}",
         f"{our_cpu / their_cpu:.1f}×", "≥ 10×"),
    ]
    print("| what | Python agent 13.0.0 | ours | ratio | goal |")
    print("|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def ramdisk(target):
    """What the last run of the tests with a real Ironic left behind."""
    initramfs = target / "ramdisk/initramfs"
    if initramfs.exists():
        size = initramfs.stat().st_size / 1e6
        print(f"| ramdisk, compressed | 121 MB ¹ | {size:.1f} MB | 1/{121 / size:.1f} | ≤ 24 MB |")
    else:
        print("| ramdisk, compressed | – | not measured in this run | – | ≤ 24 MB |")
    figures = target / "lab/figures.json"
    if not figures.exists():
        print("\nThe virtual machine was not measured: `make ironic` does that.")
        return
    measured = json.loads(figures.read_text())
    for event, goal in (("started", "–"), ("first_heartbeat", "≤ 15 s")):
        taken = sorted(boot[event] for boot in measured["power_on_to_seconds"] if event in boot)
        if taken:
            name = event.replace("_", " ")
            print(f"| power-on to {name}, {len(taken)} boots | 100 s at best ¹ | "
                  f"{taken[0]:.1f} to {taken[-1]:.1f} s, median {statistics.median(taken):.1f} s | "
                  f"1/{100 / statistics.median(taken):.1f} | {goal} |")
    memory = measured["memory"]
    if memory:
        print(f"| memory of the virtual machine, highest use | 690 MB ¹ | "
              f"{memory['highest_used_kb'] / 1000:.0f} of {memory['total_kb'] / 1000:.0f} MB | – | "
              f"boots in 512 MiB |")
    print("\n¹ Of the Python agent's official ramdisk, measured once before, not in this run.")


main()
