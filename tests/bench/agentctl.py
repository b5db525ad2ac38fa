"""How soon agentctl prints, and what a watch of many nodes takes of a core.

    agentctl.py AGENTCTL CROWDED_PAGE

The gateway is the example `crowded_page`: 200 nodes, nearly all of which work and say something twice a second.
"""

import fcntl
import os
import pathlib
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

NODES, CHANGES = 200, 400
RUNS = 50
SECONDS = 20.0
# What is promised.
FIRST_BYTE = 20.0  # ms
SHARE = 5.0  # per cent of a core
TICKS = os.sysconf("SC_CLK_TCK")


def first_byte(argv: list[str], environment: dict[str, str]) -> float:
    """Milliseconds from the start of a program to the first byte that it prints."""
    began = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        if not os.read(process.stdout.fileno(), 1):
            sys.exit(f"{' '.join(argv)} prints nothing")
        took = (time.monotonic() - began) * 1000
        process.stdout.read()
    return took


def cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Drain(threading.Thread):
    """Reads what comes, and counts it."""

    def __init__(self, descriptor: int):
        super().__init__(daemon=True)
        self.descriptor, self.count = descriptor, 0

    def run(self) -> None:
        try:
            while chunk := os.read(self.descriptor, 1 << 16):
                self.count += len(chunk)
        except OSError:
            pass  # the other end of a terminal has gone


def share(argv: list[str], environment: dict[str, str], terminal: bool) -> tuple[float, int]:
    """Per cent of a core that a program takes, and the bytes that it prints meanwhile."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer if terminal else None, env=environment)
    os.close(writer)
    drain = Drain(reader)
    drain.start()
    try:
        time.sleep(2)  # the list has been read
        before, began, printed = cpu(process.pid), time.monotonic(), drain.count
        time.sleep(SECONDS)
        used, took, count = cpu(process.pid) - before, time.monotonic() - began, drain.count - printed
    finally:
        process.kill()
        process.wait()
    if count == 0:
        sys.exit("the watch prints nothing")
    return 100 * used / took, count


def main() -> int:
    agentctl, gateway = sys.argv[1:]
    beyond = 0
    with tempfile.TemporaryDirectory() as scratch:
        socket = pathlib.Path(scratch, "fleet.sock")
        config = pathlib.Path(scratch, "config.yaml")
        config.write_text(f"current_context: bench\ncontexts:\n  bench: {{gateway: 'unix:{socket}'}}\n")
        environment = {"AGENTCTL_CONFIG": str(config), "PATH": os.environ["PATH"], "TERM": "xterm"}
        crowd = subprocess.Popen([gateway, str(NODES), str(CHANGES), f"unix:{socket}"], stdout=subprocess.PIPE)
        try:
            assert crowd.stdout
            if not crowd.stdout.readline():
                sys.exit("the gateway does not start")
            print("| what | figure | at most |\n|---|---:|---:|")
            for words in (["--version"], ["--help"], ["contexts"], ["nodes"]):
                times = [first_byte([agentctl, *words], environment) for _ in range(RUNS)]
                middle = statistics.median(times)
                beyond += middle > FIRST_BYTE
                print(f"| `agentctl {' '.join(words)}`: start to first byte, the middle of {RUNS} (the slowest) | {middle:.1f} ms "
                      f"({max(times):.1f} ms) | {FIRST_BYTE:.0f} ms |")
            for name, words, terminal in (("on a terminal", ["watch"], True), ("`-o json` into a pipe", ["watch", "-o", "json"], False)):
                taken, count = share([agentctl, *words], environment, terminal)
                beyond += taken > SHARE
                print(f"| a watch of {NODES} nodes with {CHANGES} changes a second, {name}, {count / SECONDS / 1000:.0f} kB/s "
                      f"| {taken:.1f} % of a core | {SHARE:.0f} % |")
        finally:
            crowd.kill()
            crowd.wait()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
