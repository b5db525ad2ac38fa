"""The differential suite: the same requests to the Python agent and to ours.

    suite.py ORACLE_PYTHON AGENT SHIM

Statuses, headers that matter and bodies are compared after what must differ is named alike:
identifiers, ports, times, versions. What differs on purpose is `differences.TABLE`; an entry
that nothing needs any more is a failure, too.
"""

import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

import corpus
import differences
from wire import UUID, Connection

TOKEN = "differential-token-0123456789-abcdef"
HERE = pathlib.Path(__file__).resolve().parent
HEADERS = ("content-type", "location", "allow", "server", "connection", "www-authenticate",
           "transfer-encoding", "content-encoding")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Images(http.server.BaseHTTPRequestHandler):
    """Hangs every download until it is released, then refuses it."""

    release = threading.Event()

    def do_GET(self):
        self.release.wait(60)
        self.send_error(404)

    def log_message(self, *_):
        pass


class Side:
    """One of the two agents: where it listens, and what was learned from its answers."""

    def __init__(self, name, port, processes):
        self.name, self.port, self.processes = name, port, processes
        self.last = "no-command-yet"
        self.names = {}

    def wait(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in self.processes:
                if process.poll() is not None:
                    sys.exit(f"{self.name}: {process.args[0]} ended with {process.returncode}")
            try:
                Connection(self.port).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{self.name} does not listen at port {self.port}")

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def play(self, case, images):
        """Sends a case and describes what happened, line by line."""
        seen = []
        connection = Connection(self.port)
        for raw in case.raws:
            for mark, value in (("{TOK}", TOKEN), ("{PORT}", str(self.port)),
                                ("{IMAGES}", str(images)), ("{LAST}", self.last)):
                raw = raw.replace(mark.encode(), value.encode())
            raw = fix_length(raw)
            if raw:
                connection.send(raw)
            seen.append(self.describe(connection.answer(case.head_only)))
            if seen[-1]["status"] == 0:
                break
        if case.expect_close:
            seen[-1]["closes"] = connection.is_closed()
        connection.close()
        return seen

    def describe(self, answer):
        text = answer.body.decode("utf-8", "replace")
        try:
            document = json.loads(text) if text else None
        except ValueError:
            document = None
        if isinstance(document, dict) and "command_status" in document:
            self.last = document["id"]
        seen = {"status": answer.status, "interim": answer.interim}
        for name in HEADERS:
            value = answer.header(name)
            if value is not None:
                if name == "allow":
                    value = ", ".join(sorted(value.replace(" ", "").split(",")))
                seen[name] = self.alike(value)
        seen["has length"] = answer.header("content-length") is not None
        seen["has date"] = answer.header("date") is not None
        seen["text"] = self.alike(text)
        return seen

    def alike(self, text):
        """Names what must differ alike, in the order of appearance."""
        text = text.replace(f":{self.port}", ":<port>")
        text = UUID.sub(lambda found: self.names.setdefault(
            found.group(), f"<id {len(self.names) + 1}>"), text)
        text = re.sub(r'"started_at": [0-9.]+', '"started_at": <time>', text)
        return re.sub(r'("version": )"[0-9]+\.[0-9]+\.[0-9]+[^"]*"', r'\1"<version>"', text)


def fix_length(raw):
    """Marks that were replaced change the length of a body."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator or b"Content-Length" not in head:
        return raw
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) \
        + separator + body


def sorted_results(text):
    """Documents from behind gRPC come back with sorted keys: compare them without order."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    records = document.get("commands", [document]) if isinstance(document, dict) else []
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict) and isinstance(record.get("command_result"), dict):
            record["command_result"] = json.loads(
                json.dumps(record["command_result"], sort_keys=True))
    return json.dumps(document)


def differing(theirs, ours):
    """The parts in which two descriptions differ: (part, theirs, ours)."""
    if len(theirs) != len(ours):
        yield "answers", len(theirs), len(ours)
    for their, our in zip(theirs, ours):
        for part in sorted(set(their) | set(our)):
            if their.get(part) == our.get(part):
                continue
            if part == "text" and sorted_results(their[part]) is not None \
                    and sorted_results(their[part]) == sorted_results(our[part]):
                yield "order of keys in command_result", None, None
                continue
            yield part, their.get(part), our.get(part)


def judge(theirs, ours, cases):
    used, results, failures = Counter(), Counter(), []
    for case in cases:
        open_parts = []
        for part, their, our in differing(theirs[case.name], ours[case.name]):
            entry = differences.find(case.group, case.name, part, their, our)
            if entry is None:
                open_parts.append((part, their, our))
            else:
                used[entry.key] += 1
        results[case.group, not open_parts] += 1
        if open_parts:
            failures.append((case, open_parts))
    return used, results, failures


def start(oracle_python, agent, shim, directory):
    disks = directory / "disks"
    disks.mkdir()
    with open(disks / "sda.img", "wb") as disk:
        disk.truncate(64 << 20)
    log = open(directory / "log", "wb")

    def spawn(*argv):
        return subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, cwd=directory)

    port = free_port()
    theirs = Side("the Python agent", port, [
        spawn(oracle_python, HERE / "oracle.py", port, TOKEN, disks / "sda.img")])
    port = free_port()
    socket_path = f"unix:{directory}/agent.sock"
    settings = directory / "settings.conf"
    settings.write_text("[DEFAULT]\nimage_download_connection_retries = 0\n")
    ours = Side("ours", port, [
        spawn(agent, "--config-file", settings, "--standalone", "--grpc-listen", socket_path,
              "--agent_token", TOKEN, "--simulate", disks, "--state-dir", directory / "agent"),
        spawn(shim, "--config-file", settings, "--listen_host", "127.0.0.1", "--listen_port", port,
              "--agent", socket_path, "--agent_token", TOKEN,
              "--conductor-listen", f"unix:{directory}/conductor.sock",
              "--state-dir", directory / "shim")])
    return theirs, ours


def main():
    oracle_python, agent, shim = sys.argv[1:4]
    cases = list(corpus.all_cases())
    repeated = [name for name, count in Counter(c.name for c in cases).items() if count > 1]
    cases = [case for case in cases if case.name not in repeated or case.group != "malformed"]
    images = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Images)
    threading.Thread(target=images.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="differential-") as directory:
        theirs, ours = start(oracle_python, agent, shim, pathlib.Path(directory))
        seen = {}
        try:
            for side in (theirs, ours):
                side.wait()
                Images.release.clear()
                seen[side.name] = {}
                for case in cases:
                    if case.name == "RELEASE":
                        Images.release.set()
                        seen[side.name][case.name] = []
                        continue
                    try:
                        seen[side.name][case.name] = side.play(case, images.server_port)
                    except TimeoutError:
                        seen[side.name][case.name] = [{"status": "no answer in time"}]
        finally:
            theirs.stop()
            ours.stop()
            log = pathlib.Path(directory, "log").read_text("utf-8", "replace")
            if TOKEN in "".join(line for line in log.splitlines(True) if "ironic_shim" in line):
                sys.exit("the shim's log shows the token")

    def dump(target):
        with open(target, "w") as file:
            json.dump(seen, file, indent=1, ensure_ascii=False)

    if os.environ.get("DIFFERENTIAL_DUMP"):
        dump(os.environ["DIFFERENTIAL_DUMP"])

    used, results, failures = judge(seen[theirs.name], seen[ours.name], cases)
    for case, parts in failures:
        print(f"DIFFERENT [{case.group}] {case.name}")
        for part, their, our in parts:
            print(f"    {part}:\n      theirs {their!r}\n      ours   {our!r}")
    unused = [entry for entry in differences.TABLE if not used[entry.key]]
    for entry in unused:
        print(f"UNUSED difference: {entry.key}: {entry.reason}")

    # The comparison itself must be able to fail.
    altered = json.loads(json.dumps(seen[theirs.name]))
    altered["status"][0]["text"] = altered["status"][0]["text"].replace("started", "stopped")
    altered["v1"][0]["status"] = 201
    _, _, noticed = judge(seen[theirs.name], altered, cases)
    blind = {"status", "v1"} - {case.name for case, _ in noticed}
    for name in blind:
        print(f"BLIND: an altered answer to {name!r} was not noticed")

    print()
    for group in dict.fromkeys(case.group for case in cases):
        print(f"{group:12} {results[group, True]:4} alike, {results[group, False]:3} different")
    print(f"{len(differences.TABLE)} differences on purpose, used {sum(used.values())} times")
    passed = sum(count for (_, good), count in results.items() if good)
    failed = len(failures) + len(unused) + len(blind)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
