"""One of the two agents: its processes, what is sent to it, and how its answers are written down."""

import http.server
import io
import json
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from base64 import b64decode

from wire import Connection

HEADERS = ("content-type", "location", "allow", "server", "connection", "keep-alive",
           "www-authenticate", "transfer-encoding", "content-encoding", "retry-after")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
VERSION = re.compile(r'("version": )"[0-9]+\.[0-9]+\.[0-9]+[^"]*"(?=})')
LOGS = re.compile(r'"system_logs": "([A-Za-z0-9+/=]+)"')
STARTED = re.compile(r'"started_at": [0-9]+\.[0-9]+')


class Failed(Exception):
    """A side that does not start, or ends by itself."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Images:
    """An image server that hangs every download while it holds, and then refuses it."""

    def __init__(self):
        gate = self.gate = threading.Event()
        gate.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                gate.wait(60)
                # Nothing here differs from one time to the next: the Python agent repeats all.
                self.send_response_only(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hold(self):
        self.gate.clear()

    def let_go(self):
        self.gate.set()


class Side:
    """Where an agent listens, and what was learned from its answers."""

    def __init__(self, name, port, processes, token):
        self.name, self.port, self.processes, self.token = name, port, processes, token
        self.images = Images()
        self.last = "no-command-yet"

    def wait_until_served(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"{self.name}: {process.args[0]} ended: {process.returncode}")
            try:
                answer = self.ask(b"GET /v1/status HTTP/1.0\r\n\r\n")
                if answer["status"] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise Failed(f"{self.name} does not answer at port {self.port}")

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # What scripts use.

    def connect(self, timeout=20.0):
        return Connection(self.port, timeout)

    def fill(self, raw):
        """Puts values for marks; the length of a body that changed so is corrected."""
        before = len(raw.partition(b"\r\n\r\n")[2])
        for mark, value in (("{TOK}", self.token), ("{PORT}", str(self.port)),
                            ("{IMAGES}", str(self.images.port)), ("{LAST}", self.last)):
            raw = raw.replace(mark.encode(), value.encode())
        head, separator, body = raw.partition(b"\r\n\r\n")
        head = head.replace(b"Content-Length: %d" % before, b"Content-Length: %d" % len(body)) \
            if before != len(body) else head
        return head + separator + body

    def ask(self, raw, timeout=20.0):
        connection = self.connect(timeout)
        try:
            connection.send(self.fill(raw))
            return self.describe(connection.answer())
        except TimeoutError:
            return {"status": "no answer in time"}
        finally:
            connection.close()

    @staticmethod
    def pause(seconds):
        time.sleep(seconds)

    # What the suite uses.

    def play(self, case):
        """Sends a case and describes what happened, answer by answer."""
        if case.script:
            return case.script(self)
        seen = []
        connection = self.connect(case.timeout)
        try:
            for send in case.sends:
                connection.send(self.fill(send.raw))
                if send.then == "nothing":
                    time.sleep(0.05)
                elif send.then == "interim":
                    seen.append({"status": connection.interim()})
                else:
                    seen.append(self.describe(connection.answer(send.head_only)))
                if seen and seen[-1]["status"] == 0:
                    break
            if case.closes:
                seen[-1]["closes"] = connection.is_closed()
        except TimeoutError:
            seen.append({"status": "no answer in time"})
        finally:
            connection.close()
        return seen

    def describe(self, answer):
        text = answer.body.decode("utf-8", "replace")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if isinstance(document, dict) and "command_status" in document:
            self.last = document["id"]
        seen = {"status": answer.status}
        if answer.interim:
            seen["interim"] = answer.interim
        for name in HEADERS:
            value = answer.header(name)
            if value is not None:
                if name == "allow":
                    value = ", ".join(sorted(value.replace(" ", "").split(",")))
                seen[name] = self.alike(value)
        seen["length"] = {None: "none", str(len(answer.body)): "right"}.get(
            answer.header("content-length"), "of another body" if answer.body else "given")
        seen["date"] = answer.header("date") is not None
        seen["text"] = self.alike(text)
        return seen

    def alike(self, text):
        """Names what must differ alike: identifiers in the order of appearance."""
        text = text.replace(f":{self.port}", ":<port>").replace(f":{self.images.port}", ":<images>")
        names = {self.last: "<last id>"}
        text = UUID.sub(lambda found: names.setdefault(found.group(), f"<id {len(names)}>"), text)
        text = LOGS.sub(what_logs, text)
        text = STARTED.sub('"started_at": <time>', text)
        return VERSION.sub(r'\1"<version>"', text)


def what_logs(found):
    """The collected logs, which no two machines have alike: what they are instead."""
    logs = b64decode(found.group(1), validate=True)
    with tarfile.open(fileobj=io.BytesIO(logs), mode="r:gz") as archive:
        some = any(member.size for member in archive)
    return f'"system_logs": "<a compressed archive{"" if some else " of nothing"}>"'
