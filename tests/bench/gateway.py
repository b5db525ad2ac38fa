"""A gateway before many agents: what it takes of memory and time, and how a fleet comes back.

    gateway.py SHIM [--agents N,...] [--outages SECONDS,...] [--minutes N] [--draw-only]

The agents are real ones, in one process (the example `fleet`), each with a simulated machine; Ironic is the stand-in of that
process. EXAMPLES names the directory with `fleet` and `node_beats`. Agents and gateway speak mutual TLS, and the conductor's
requests are HTTPS. The figures are written to docs/benchmarks/gateway.json, and drawn beside it. After so many minutes what
is not measured yet is left out.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time

import curves
from loopback import Certificates, free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = pathlib.Path(os.environ.get("EXAMPLES", ""))
FIGURES = ROOT / "docs/benchmarks/gateway.json"
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds. A quiet fleet has neither handshakes nor first heartbeats any more.
QUIET, TIMEOUT, DOWN = 8, 600, 3.6
# What beats cost: agents, seconds, and Ironic's time-outs for heartbeats with many beats and with next to none.
BEATING, BEATEN_FOR, OFTEN, SELDOM = 500, 60, 15, 3000
# How many of them a gateway can relay: calls to Ironic per second, the seconds until all nodes beat, and those that are counted.
HIGHEST_RATE, BEATING_AFTER, COUNTED_FOR = 10_000, 10, 30
CONFIG_DRIVE = 64 << 20


def node(number):
    """The UUID and the token that the stand-in gives a machine."""
    return f"00000000-0000-4000-8000-0000{number:08x}", f"token-of-the-simulated-machine-{number:08x}"


class TimeUp(Exception):
    """The minutes are over."""


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


class Process:
    """A child, and what it has used."""

    def __init__(self, argv, log):
        self.log = log
        with open(log, "ab") as output:
            self.child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def check(self):
        if self.child.poll() is not None:
            sys.exit(f"{self.child.args!r} ended with {self.child.returncode}: {self.log.read_text(errors='replace')[-2000:]}")

    def kib(self, field="VmRSS"):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.findall(rf"{field}:\s+(\d+)", status)[0])

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def kill(self):
        self.child.kill()
        self.child.wait()


class Bench:
    """A gateway and a fleet."""

    def __init__(self, shim, agents):
        self.shim, self.agents = shim, agents
        self.started: list[Process] = []
        self.fleet = None

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="gateway-bench-")
        self.room = pathlib.Path(self.directory.name)
        self.certificates = Certificates(self.room)
        self.rest, self.grpc, self.metrics_port, self.ironic = (free_port() for _ in range(4))
        self.trust = ssl.create_default_context(cafile=str(self.certificates.ca))
        return self

    def __exit__(self, *_):
        for process in self.started:
            if process.child.poll() is None:
                process.kill()
        self.directory.cleanup()

    def start_gateway(self, *options):
        files = self.certificates
        self.gateway = Process([
            self.shim, "--gateway_url", f"https://127.0.0.1:{self.rest}", "--listen_host", "127.0.0.1", "--listen_port", self.rest,
            "--conductor_listen", f"127.0.0.1:{self.grpc}", "--api_url", f"http://127.0.0.1:{self.ironic}",
            "--state_dir", self.room / "state", "--metrics_listen", f"127.0.0.1:{self.metrics_port}",
            "--tls_cert_file", files.cert, "--tls_key_file", files.key, "--gateway_ca_file", files.ca,
            "--grpc_tls_ca_file", files.ca, "--grpc_tls_cert_file", files.cert, "--grpc_tls_key_file", files.key, *options,
        ], self.room / "gateway.log")
        self.started.append(self.gateway)
        self.wait("the gateway", lambda: self.metric("ironic_shim_attachments") is not None)

    def start_fleet(self, heartbeat_timeout=300, agents=None):
        files = self.certificates
        self.fleet = Process([
            EXAMPLES / "fleet", "--agents", self.agents if agents is None else agents, "--start-over", "1", "--ironic", f"127.0.0.1:{self.ironic}",
            "--heartbeat-timeout", heartbeat_timeout, "--conductor", f"https://127.0.0.1:{self.grpc}",
            "--ca-file", files.ca, "--cert-file", files.cert, "--key-file", files.key,
        ], self.room / "fleet.log")
        self.started.append(self.fleet)

    def wait(self, what, condition, timeout=TIMEOUT, pause=0.2):
        begin = time.monotonic()
        while not condition():
            self.gateway.check()
            if self.fleet is not None:
                self.fleet.check()
            if time.monotonic() - begin > timeout:
                sys.exit(f"{what} did not come within {timeout} s; logs in {self.room}")
            time.sleep(pause)
        return time.monotonic() - begin

    def metric(self, name):
        """A value, or the sum over its labels; nothing where the gateway does not answer."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return None
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
        return sum(map(float, found)) if found else None

    def attached(self):
        return self.metric("ironic_shim_attachments") or 0

    def all_attached(self):
        return self.attached() >= self.agents

    def steer(self, path, method="POST"):
        connection = http.client.HTTPConnection("127.0.0.1", self.ironic, timeout=60)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body!r}")
        return json.loads(body)

    def ironic_answers(self):
        try:
            self.steer("/fleet", "GET")
        except OSError:
            return False
        return True

    def per_agent(self, empty):
        time.sleep(QUIET)
        return (self.gateway.kib() - empty) / self.agents

    # What is measured ------------------------------------------------------------------------------

    def run(self, outages, figures):
        """Fills `figures` in the order in which they are measured."""
        begun = time.monotonic()

        def say(text):
            print(f"{time.monotonic() - begun:5.0f} s, {self.agents} agents: {text}", file=sys.stderr, flush=True)

        self.start_gateway()
        time.sleep(1)
        empty, before = self.gateway.kib(), self.gateway.cpu()
        say("attaching")
        self.start_fleet()
        figures["attach_seconds"] = self.wait("the last attachment", self.all_attached)
        # Each is looked up, proved by a heartbeat and attached, which is two requests to Ironic and what is deferred before them.
        figures["starts_per_cpu_second"] = self.agents / (self.gateway.cpu() - before)
        figures["kib_idle"] = self.per_agent(empty)
        say("a command for each")
        figures["commands_per_second_one_at_a_time"] = self.command_each()
        figures["kib_after_a_command"] = self.per_agent(empty)
        say("calls")
        figures["calls_1"], figures["calls_32"] = self.calls(1), self.calls(32)
        figures["config_drive"] = self.config_drive()
        say("the gateway is killed")
        figures["killed"] = self.killed()
        # Known agents: TLS, a heartbeat session and an attachment each.
        figures["attaches_per_cpu_second"] = self.agents / figures["killed"]["cpu_seconds"]
        figures["outages"] = {}
        for seconds in outages:
            say(f"Ironic is away for {seconds} s")
            figures["outages"][str(seconds)] = self.outage(seconds)
        say("three times all agents anew")
        for _ in range(3):
            self.restart_agents()
        figures["kib_after_churn"] = self.per_agent(empty)
        say("all agents go")
        if self.fleet is not None:
            self.fleet.kill()
        self.fleet = None
        self.wait("the end of the last attachment", lambda: self.attached() == 0)
        # What the allocator keeps is given back once a minute.
        time.sleep(70)
        figures["kib_left"] = self.gateway.kib() - empty
        self.gateway.kill()

    def beats(self, heartbeat_timeout):
        """How many beats a fleet that is left alone has sent, and the CPU seconds that the gateway took meanwhile."""
        self.start_gateway()
        self.start_fleet(heartbeat_timeout)
        self.wait("the last attachment", self.all_attached)
        time.sleep(QUIET)
        return self.relayed(BEATEN_FOR)

    def most_beats(self):
        """Beats a second, and for each CPU second of the gateway, of nodes that beat as often as they are answered."""
        self.start_gateway("--ironic_call_rate", HIGHEST_RATE)
        self.start_fleet(agents=0)
        self.wait("the stand-in for Ironic", self.ironic_answers)
        files = self.certificates
        url = f"https://127.0.0.1:{self.grpc}"
        beating = Process([EXAMPLES / "node_beats", url, self.agents, files.ca, files.cert, files.key], self.room / "beats.log")
        self.started.append(beating)
        time.sleep(BEATING_AFTER)
        beats, used = self.relayed(COUNTED_FOR)
        beating.check()
        return beats / COUNTED_FOR, beats / used

    def relayed(self, seconds):
        """How many beats arrive at Ironic in this time, and the CPU seconds that the gateway takes meanwhile."""
        def count():
            return self.steer("/fleet", "GET")["beats"], self.gateway.cpu()

        beats, used = count()
        time.sleep(seconds)
        beats_after, used_after = count()
        return beats_after - beats, used_after - used

    def conductor(self):
        return http.client.HTTPSConnection("127.0.0.1", self.rest, timeout=60, context=self.trust)

    def command_each(self):
        connection, order = self.conductor(), json.dumps({"name": "standby.sync", "params": {}})
        begin = time.monotonic()
        for number in range(self.agents):
            uuid, token = node(number)
            connection.request("POST", f"/nodes/{uuid}/v1/commands/?wait=true&agent_token={token}", order)
            answer = json.loads(connection.getresponse().read())
            if answer["command_status"] != "SUCCEEDED":
                sys.exit(f"{uuid}: {answer}")
        return self.agents / (time.monotonic() - begin)

    def calls(self, at_once, seconds=5):
        """Lists of commands, of all nodes in turn, through REST server and tunnel."""
        script = self.room / "nodes.lua"
        script.write_text(f"""
            local number = 0
            request = function()
                number = (number + 7) % {self.agents}
                local it = string.format("%08x", number)
                return wrk.format("GET", "/nodes/00000000-0000-4000-8000-0000" .. it ..
                    "/v1/commands/?agent_token=token-of-the-simulated-machine-" .. it)
            end
        """)
        before = self.gateway.cpu()
        output = subprocess.run(
            ["wrk", "--latency", "-t1", f"-c{at_once}", f"-d{seconds}s", "-s", script, f"https://127.0.0.1:{self.rest}"],
            capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"not every call was answered with 200:\n{output}")
        count = int(re.findall(r"(\d+) requests in", output)[0])
        number, unit = re.findall(r"99%\s+([0-9.]+)(us|ms|s)", output)[0]
        return {"p99_ms": float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], "per_second": count / seconds,
                "per_cpu_second": count / (self.gateway.cpu() - before)}

    def config_drive(self):
        """A command of 64 MiB for one node, while another one is asked."""
        uuid, token = node(0)
        order = json.dumps({"name": "clean.get_clean_steps",
                            "params": {"node": {"uuid": uuid, "extra": "x" * CONFIG_DRIVE}, "ports": []}})
        resident = self.gateway.kib()
        self.gateway.forget_peak()
        connection, other = self.conductor(), self.conductor()
        other_uuid, other_token = node(self.agents - 1)
        begin = time.monotonic()
        connection.request("POST", f"/nodes/{uuid}/v1/commands/?wait=true&agent_token={token}", order)
        taken = []
        sending = connection.sock
        sending.setblocking(False)
        while True:
            asked = time.monotonic()
            other.request("GET", f"/nodes/{other_uuid}/v1/commands/?agent_token={other_token}")
            other.getresponse().read()
            taken.append(time.monotonic() - asked)
            try:
                if sending.recv(1, 0):
                    break
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
        seconds = time.monotonic() - begin
        return {"seconds": seconds, "extra_mib": (self.gateway.kib("VmHWM") - resident) / 1024,
                "others_p99_ms": quantile(taken, 0.99) * 1000}

    def restart_agents(self):
        accepted = self.metric("ironic_shim_attaches_total")
        self.steer("/fleet/restart?1")
        self.wait("all agents anew", lambda: self.metric("ironic_shim_attaches_total") >= accepted + self.agents and self.all_attached())

    def killed(self):
        """`kill -9`; down for a while; when which share is attached again, from the new start on."""
        self.gateway.kill()
        time.sleep(DOWN)
        begin = time.monotonic()
        self.start_gateway()
        curve, reached = [], 0
        while reached < self.agents:
            reached = int(self.attached())
            curve.append([round(time.monotonic() - begin, 2), reached])
            if time.monotonic() - begin > TIMEOUT:
                sys.exit("not all agents came back")
            time.sleep(0.2)
        when = {share: next(at for at, count in curve if count >= self.agents * share) for share in (0.5, 0.99, 1)}
        attaches = self.metric("ironic_shim_attaches_total")
        return {"half": when[0.5], "p99": when[0.99], "all": when[1], "cpu_seconds": self.gateway.cpu(),
                "attaches_per_agent": attaches / self.agents, "curve": curve}

    def outage(self, seconds):
        """Ironic refuses everything for a while. What arrives from its end on, until nobody is deferred any more."""
        self.steer(f"/fleet/outage?{seconds}")
        time.sleep(seconds + 1)
        waiting = self.metric("ironic_shim_pacing_deferred") or 0
        begin, before = time.monotonic() - 1, self.gateway.cpu()

        def nobody_waits():
            return not self.metric("ironic_shim_pacing_deferred") and not self.metric("ironic_shim_pacing_waiting")

        self.wait("the last agent that was deferred", nobody_waits, TIMEOUT, 1)
        last, used = time.monotonic() - begin, self.gateway.cpu() - before
        # The last second may not be a whole one.
        whole = self.steer("/fleet", "GET")["beats_by_second"][:max(1, int(last))]
        # Of a small fleet perhaps no agent has had to beat since.
        return {"deferred": waiting, "back_seconds": last, "peak": max(whole, default=0),
                "mean": sum(whole) / max(1, len(whole)), "beats_by_second": whole, "cpu_seconds": used}


def table(runs):
    rows = [
        ("memory per agent, idle", "kib_idle", "{:.1f} KiB", "≤ 60"),
        ("after a command each", "kib_after_a_command", "{:.1f} KiB", "≤ 68"),
        ("after three times all agents anew", "kib_after_churn", "{:.1f} KiB", "≤ 70"),
        ("left when all have gone", "kib_left", "{:.0f} KiB", "≤ 24 MB"),
        ("attaches per CPU second of the gateway, after its restart", "attaches_per_cpu_second", "{:.0f}", "≥ 1,500"),
        ("first starts per CPU second: lookup, heartbeat, attach", "starts_per_cpu_second", "{:.0f}", "–"),
        ("until all have attached for the first time", "attach_seconds", "{:.1f} s", "–"),
        (f"beats per CPU second, {BEATING} nodes, as many as are answered", "most_beats_per_cpu_second", "{:.0f}", "≥ 10,000"),
        ("such beats a second", "most_beats_per_second", "{:.0f}", "–"),
        (f"beats per CPU second, {BEATING} agents, 70 beats a second", "beats_per_cpu_second", "{:.0f}", "–"),
    ]
    print("| what | " + " | ".join(f"{run['agents']:,} agents" for run in runs) + " | goal |")
    print("|---|" + "---|" * len(runs) + "---|")
    for title, key, form, goal in rows:
        print(f"| {title} | " + " | ".join(form.format(run[key]) if key in run else "–" for run in runs) + f" | {goal} |")
    nested = [
        ("small call, one at a time, p99", "calls_1", "p99_ms", "{:.2f} ms", "≤ 1 ms"),
        ("small call, 32 at once, p99", "calls_32", "p99_ms", "{:.2f} ms", "≤ 10 ms"),
        ("calls per CPU second of the gateway, 32 at once", "calls_32", "per_cpu_second", "{:.0f}", "≥ 10,000"),
        ("config drive of 64 MiB", "config_drive", "seconds", "{:.2f} s", "≤ 1 s"),
        ("memory that it takes", "config_drive", "extra_mib", "{:.0f} MiB", "≤ 160"),
        ("small calls of another node meanwhile, p99", "config_drive", "others_p99_ms", "{:.1f} ms", "≤ 5 ms"),
        ("99 % back after `kill -9`", "killed", "p99", "{:.1f} s", "≤ 15 s"),
        ("all back", "killed", "all", "{:.1f} s", "≤ 35 s"),
        ("attachments per agent meanwhile", "killed", "attaches_per_agent", "{:.3f}", "≤ 1.05"),
    ]
    for title, group, key, form, goal in nested:
        cells = (form.format(run[group][key]) if group in run else "–" for run in runs)
        print(f"| {title} | " + " | ".join(cells) + f" | {goal} |")
    print()
    print("| Ironic away for | agents | deferred at its end | all back after | beats in a second, peak / mean (≤ 1.3) |")
    print("|---|---|---|---|---|")
    for run in runs:
        for seconds, it in run.get("outages", {}).items():
            print(f"| {seconds} s | {run['agents']:,} | {it['deferred']:.0f} | {it['back_seconds']:.0f} s | {it['peak']} / {it['mean']:.0f} "
                  f"({it['peak'] / (it['mean'] or 1):.2f}) |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shim", type=pathlib.Path)
    parser.add_argument("--agents", default="1000,3000,9000")
    parser.add_argument("--outages", default="10,60,300", help="for the largest fleet")
    parser.add_argument("--minutes", type=float, default=24, help="after these what is not measured yet is left out")
    parser.add_argument("--draw-only", action="store_true")
    arguments = parser.parse_args()
    runs = json.loads(FIGURES.read_text()) if arguments.draw_only else measure(arguments)
    table(runs)
    curves.draw(runs, FIGURES.parent)


def measure(arguments):
    """The figures of each fleet, the smallest first."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def end(*_):
        raise TimeUp

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, arguments.minutes * 60)
    runs, sizes = [], [int(size) for size in arguments.agents.split(",")]
    try:
        for size in sizes:
            wanted = arguments.outages.split(",") if size == max(sizes) and arguments.outages else []
            runs.append({"agents": size})
            with Bench(arguments.shim, size) as bench:
                bench.run([int(seconds) for seconds in wanted], runs[-1])
        with Bench(arguments.shim, BEATING) as bench:
            runs[-1]["most_beats_per_second"], runs[-1]["most_beats_per_cpu_second"] = bench.most_beats()
        runs[-1]["beats_per_cpu_second"] = beats_per_cpu_second(arguments.shim)
    except TimeUp:
        print(f"{arguments.minutes} minutes are over: what was not measured is left out", file=sys.stderr)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        # What was measured before something failed counts, too.
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(runs, indent=1) + "\n")
    return runs


def beats_per_cpu_second(shim):
    """By the difference of two fleets, which have everything else in common: pings, sessions, the scrapes of this bench."""
    found = []
    for heartbeat_timeout in (OFTEN, SELDOM):
        with Bench(shim, BEATING) as bench:
            found.append(bench.beats(heartbeat_timeout))
    (often, used_often), (seldom, used_seldom) = found
    return (often - seldom) / max(used_often - used_seldom, 1 / TICKS)


if __name__ == "__main__":
    main()
