"""What is sent: a case is a name and one or more requests, usually on a connection of its own.

In what is sent, `{TOK}` is the valid token, `{PORT}` the agent's own port, `{IMAGES}` the port
of the suite's image server, `{LAST}` the identifier of the last command that the agent
answered.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

COMMANDS = "/v1/commands/?agent_token={TOK}"
WAIT = COMMANDS + "&wait=true"
NODE = {"uuid": "c0ffee00-0000-4000-8000-000000000001", "properties": {}, "instance_info": {},
        "driver_internal_info": {}, "driver_info": {}, "extra": {}}
STEP = {"step": "erase_devices_metadata", "interface": "deploy", "priority": 99}


@dataclass(frozen=True)
class Send:
    """Bytes, and what is read after they were sent: an answer, an interim one, or nothing."""

    raw: bytes
    then: str = "answer"

    @property
    def head_only(self):
        return self.raw.startswith(b"HEAD ")


@dataclass(frozen=True)
class Case:
    group: str
    name: str
    sends: tuple = ()
    # Whether the connection ends by itself after the last answer.
    closes: bool = False
    # Shorter than usual, for requests that are never answered.
    timeout: float = 20.0
    # Instead of `sends`: a script that plays with a side and describes what it saw.
    script: Callable | None = None

    @property
    def key(self):
        return f"[{self.group}] {self.name}"


def request(method, target, body=None, headers=(), version="1.1", host="127.0.0.1:{PORT}"):
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += headers
    data = b"" if body is None else body if isinstance(body, bytes) else body.encode()
    if body is not None and not any(h.lower().startswith(("content-length", "transfer-encoding"))
                                    for h in headers):
        lines.append(f"Content-Length: {len(data)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data


def raw(group, name, *parts, **options):
    """A case of bytes as they are."""
    return Case(group, name, tuple(p if isinstance(p, Send) else Send(p) for p in parts), **options)


def one(group, name, method, target, body=None, **options):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    return raw(group, name, request(method, target, body, **options))


def command(group, name, verb, params, wait=True):
    return one(group, name, "POST", WAIT if wait else COMMANDS, {"name": verb, "params": params})


def followed(group, name, first, **options):
    """A request and another one on the same connection: is the first one's end understood?"""
    return raw(group, name, first, request("GET", "/v1/status"), **options)
