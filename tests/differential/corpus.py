"""The requests, in order. Both agents get all of them, one after the other.

A case is a name and what is sent: usually one request on a fresh connection. `{TOK}` is the
valid token, `{PORT}` the agent's own port, `{IMAGES}` the port of the suite's image server,
`{LAST}` the identifier of the last command that the agent answered.
"""

import json
import random
from dataclasses import dataclass, field

COMMANDS = "/v1/commands/?agent_token={TOK}"
WAIT = COMMANDS + "&wait=true"
NODE = {"uuid": "c0ffee00-0000-4000-8000-000000000001", "properties": {}, "instance_info": {},
        "driver_internal_info": {}, "driver_info": {}, "extra": {}}


@dataclass
class Case:
    name: str
    raws: list
    head_only: bool = False
    expect_close: bool = False
    group: str = "contract"
    heads: list = field(default_factory=list)


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


def one(name, method, target, body=None, group="contract", **options):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    return Case(name, [request(method, target, body, **options)], method == "HEAD", group=group)


def command(name, verb, params, wait=True, group="contract"):
    return one(name, "POST", WAIT if wait else COMMANDS, {"name": verb, "params": params},
               group=group)


def contract():
    """The rows of the REST contract that need no hardware."""
    yield one("root", "GET", "/")
    yield one("v1 redirects", "GET", "/v1")
    yield one("v1", "GET", "/v1/")
    yield one("status", "GET", "/v1/status")
    yield one("status with slash", "GET", "/v1/status/")
    yield one("bare status", "GET", "/status")
    yield one("no such route", "GET", "/v1/nope")
    yield one("delete status", "DELETE", "/v1/status")
    yield one("post to one command", "POST", "/v1/commands/abc", "{}")
    yield one("list redirects", "GET", "/v1/commands?agent_token={TOK}")
    yield one("post redirects", "POST", "/v1/commands?agent_token={TOK}&wait=true", "{}")
    yield one("bare list redirects", "GET", "/commands")
    yield one("list without token", "GET", "/v1/commands/")
    yield one("list with empty token", "GET", "/v1/commands/?agent_token=")
    yield one("list with wrong token", "GET", "/v1/commands/?agent_token=nope")
    yield one("first token wrong", "GET", "/v1/commands/?agent_token=x&agent_token={TOK}")
    yield one("second token wrong", "GET", "/v1/commands/?agent_token={TOK}&agent_token=x")
    yield one("token in the body", "POST", "/v1/commands/",
              {"name": "standby.sync", "params": {"agent_token": "{TOK}"}})
    yield one("wrong token before bad body", "POST", "/v1/commands/?agent_token=x", "garbage")
    yield one("empty list", "GET", COMMANDS)
    yield one("bare empty list", "GET", "/commands/?agent_token={TOK}")
    yield one("no such command record", "GET", "/v1/commands/abc?agent_token={TOK}")
    yield one("record with slash", "GET", "/v1/commands/abc/?agent_token={TOK}")
    for body in ("garbage", ""):
        yield one(f"body {body!r}", "POST", COMMANDS, body)
    for body in ({}, {"name": "x"}, {"params": {}}, {"name": "a.b", "params": []},
                 {"name": "a.b", "params": None}, []):
        yield one(f"body {json.dumps(body)}", "POST", COMMANDS, body)
    for verb in ("noext", "", "nope.cmd", ".", "standby.nope", "standby.a.b", "clean.", ".sync"):
        yield command(f"verb {verb!r}", verb, {})
    yield one("text/plain and an extra key", "POST", WAIT,
              {"name": "standby.get_partition_uuids", "params": {}, "more": 1},
              headers=["Content-Type: text/plain"])
    chunk = b'{"name": "standby.get_partition_uuids", "params": {}}'
    yield Case("chunked body", [request("POST", WAIT, headers=["Transfer-Encoding: chunked"])
                                + b"%x\r\n" % len(chunk) + chunk + b"\r\n0\r\n\r\n"])
    yield Case("chunked body in pieces", [
        request("POST", WAIT, headers=["Transfer-Encoding: chunked"])
        + b"".join(b"1\r\n" + bytes([c]) + b"\r\n" for c in chunk) + b"0\r\n\r\n"])
    yield one("20 MB body", "POST", WAIT, json.dumps(
        {"name": "standby.get_partition_uuids", "params": {}, "pad": "x" * 20_000_000}))
    yield command("partition uuids", "standby.get_partition_uuids", {})
    yield command("clean steps", "clean.get_clean_steps", {"node": NODE, "ports": []})
    yield command("deploy steps", "deploy.get_deploy_steps", {"node": NODE, "ports": []})
    yield command("service steps", "service.get_service_steps", {"node": NODE, "ports": []})
    step = {"step": "erase_devices_metadata", "interface": "deploy", "priority": 99}
    run = {"step": step, "node": NODE, "ports": []}
    yield command("a clean step", "clean.execute_clean_step", run)
    yield command("a clean step, version null", "clean.execute_clean_step",
                  run | {"clean_version": None})
    yield command("a clean step, right version", "clean.execute_clean_step",
                  run | {"clean_version": {"generic_hardware_manager": "1.2"}})
    for phase in ("clean", "deploy", "service"):
        yield command(f"{phase}: version mismatch", f"{phase}.execute_{phase}_step",
                      run | {f"{phase}_version": {"generic_hardware_manager": "0.1"}})
        yield command(f"{phase}: unknown step", f"{phase}.execute_{phase}_step",
                      {"step": {"step": "no_such_step"}, "node": NODE, "ports": []})
        yield command(f"{phase}: step without name", f"{phase}.execute_{phase}_step",
                      {"step": {"interface": "deploy"}, "node": NODE, "ports": []})
        yield command(f"{phase}: no step", f"{phase}.execute_{phase}_step",
                      {"node": NODE, "ports": []})
    yield command("a step with args null", "clean.execute_clean_step",
                  {"step": step | {"args": None}, "node": NODE, "ports": []})
    yield command("numbers and text survive in the echo", "clean.execute_clean_step",
                  {"step": step | {"x": [1, 1.5, -3, 2**53, "é€😀", None, True]},
                   "node": NODE, "ports": []})
    image = "standby.prepare_image"
    for info in ({}, {"id": "i"}, {"id": "i", "urls": []}, {"id": "i", "urls": "u"},
                 {"id": "i", "urls": ["http://x"], "os_hash_algo": "sha256"},
                 {"id": "i", "urls": ["http://x"], "os_hash_value": "aa"},
                 {"id": "i", "urls": ["http://x"], "checksum": 5},
                 {"id": "i", "urls": ["http://x"], "checksum": ""},
                 {"id": "i", "urls": ["http://x"], "checksum": "d41d8cd98f00b204e9800998ecf8427e"},
                 {"id": "i", "urls": ["http://x"]}):
        yield command(f"image {json.dumps(info)}", image, {"image_info": info})
    yield command("wait has no effect on refusals", image, {"image_info": {}}, wait=False)
    yield command("node info without config", "poll.set_node_info", {"node_info": {}})
    yield command("sync", "standby.sync", {})
    yield one("the list so far", "GET", COMMANDS)
    yield one("the last record", "GET", "/v1/commands/{LAST}?agent_token={TOK}")
    yield one("the last record, waiting", "GET", "/v1/commands/{LAST}?agent_token={TOK}&wait=true")


def busy():
    """A download that hangs keeps both agents busy until the image server lets go."""
    info = {"id": "img", "urls": ["http://127.0.0.1:{IMAGES}/hang"], "disk_format": "raw",
            "stream_raw_images": True, "os_hash_algo": "sha256", "os_hash_value": "a" * 64}
    group = "busy"
    yield command("start a download", "standby.prepare_image", {"image_info": info}, wait=False,
                  group=group)
    yield command("busy", "standby.sync", {}, group=group)
    yield command("busy before unknown extension", "nope.cmd", {}, group=group)
    yield command("busy before unknown command", "standby.nope", {}, group=group)
    yield command("no dot before busy", "noext", {}, group=group)
    yield one("list while busy", "GET", COMMANDS, group=group)
    for wait in ("1", "yes", "", "false", "on"):
        yield one(f"wait={wait} does not wait", "GET",
                  "/v1/commands/{LAST}?agent_token={TOK}&wait=" + wait, group=group)
    yield one("status while busy", "GET", "/v1/status", group=group)
    yield Case("RELEASE", [], group=group)
    yield one("wait for the end", "GET", "/v1/commands/{LAST}?agent_token={TOK}&wait=TrUe",
              group=group)
    yield one("list after the failure", "GET", COMMANDS, group=group)


def transport():
    group = "transport"
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
        for target in ("/", "/v1/", "/v1", "/v1/status", COMMANDS, "/v1/commands/x?agent_token={TOK}",
                       "/v1/commands", "/nope"):
            yield one(f"{method} {target}", method, target, group=group)
    yield one("OPTIONS *", "OPTIONS", "*", group=group)
    yield Case("keep-alive", [request("GET", "/v1/status")] * 3, group=group)
    yield Case("pipelining", [request("GET", "/v1/status") + request("GET", "/v1/nope"), b""],
               group=group)
    yield Case("connection: close", [request("GET", "/v1/status", headers=["Connection: close"])],
               expect_close=True, group=group)
    yield Case("HTTP/1.0", [request("GET", "/v1/status", version="1.0")], expect_close=True,
               group=group)
    yield Case("HTTP/1.0 keep-alive", [request("GET", "/v1/status", version="1.0",
               headers=["Connection: Keep-Alive"])], group=group)
    yield Case("HTTP/1.0 without host", [request("GET", "/", version="1.0", host=None)],
               expect_close=True, group=group)
    yield Case("HTTP/2.0", [b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"], group=group)
    yield one("other host", "GET", "/", host="ironic.example:123", group=group)
    yield one("forwarded headers are ignored", "GET", "/",
              headers=["X-Forwarded-Host: evil", "X-Forwarded-Proto: https"], group=group)
    body = b'{"name": "standby.get_partition_uuids", "params": {}}'
    yield Case("expect: 100-continue", [request("POST", WAIT, body,
               headers=["Expect: 100-continue"])], group=group)
    yield Case("unread body, then another request", [
        request("POST", "/v1/commands/?agent_token=no", b"x" * 1000),
        request("GET", "/v1/status")], group=group)
    yield Case("405 with body, then another request", [
        request("PUT", "/v1/status", b"x" * 1000), request("GET", "/v1/status")], group=group)
    for target in ("/v1//status", "/v1/commands//?agent_token={TOK}", "/v1/commands/a%20b?agent_token={TOK}",
                   "/v1/commands/a%2Fb?agent_token={TOK}", "/V1/status", "/v1/status?x=1",
                   "/v1/commands/%C3%A9?agent_token={TOK}", "/v1/../v1/status", "/v1/status%20",
                   "/v1/commands/?agent_token={TOK}&wait=true&foo=bar", "/commands/x?agent_token={TOK}",
                   "/v1/commands/?agent%5Ftoken={TOK}", "/v1/commands/?AGENT_TOKEN={TOK}",
                   "/v1/commands/?agent_token={TOK}+", "/v1/commands/?agent_token=%00",
                   "/v1/commands/?;agent_token={TOK}", "/v1/commands/?&&agent_token={TOK}&&"):
        yield one(f"GET {target}", "GET", target, group=group)
    yield Case("garbage", [b"BOGUS\r\n\r\n"], group=group)
    yield Case("lower-case method", [request("get", "/v1/status")], group=group)
    yield Case("path of two slashes", [request("GET", "//v1/status")], group=group)


def malformed(seed, count):
    """Bodies near valid JSON, and documents with odd names and values."""
    rng = random.Random(seed)
    group = "malformed"
    base = '{"name": "standby.get_partition_uuids", "params": {}}'
    alphabet = '{}[]",:\\\'\x00\t\n 0123456789eE+-.tfnulrasé'
    for number in range(count):
        text = base
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text) + 1)
            kind = rng.randrange(3)
            if kind == 0:
                text = text[:at] + text[at + rng.randint(1, 4):]
            elif kind == 1:
                text = text[:at] + rng.choice(alphabet) + text[at:]
            else:
                text = text[:at]
        yield one(f"#{number} {text!r}", "POST", WAIT, text.encode(), group=group)
    for body in (b"\xff\xfe", b'"\xc3"', b"NaN", b"-", b"01", b"1.", b'{"a": 1,}', b"[1,]", b"'a'",
                 b"tru", b"nul", b'{"a"}', b'{"a":}', b'{1: 2}', b'"\\x"', b'"\\u12"', b'"\t"',
                 b" ", b"\n\n{", b"{} {}", b'{"name"', b"\xef\xbb\xbf{}", b"[[[[", b'"unterminated'):
        yield one(f"body {body!r}", "POST", WAIT, body, group=group)
    for body in (b"null", b"1", b'"text"', b'["name", "params"]', b"true",
                 b'{"name": 5, "params": {}}', b'{"name": null, "params": {}}',
                 b'{"name": ["a.b"], "params": {}}'):
        yield one(f"type {body!r}", "POST", WAIT, body, group="wrong types")


def odd_names(seed, count):
    rng = random.Random(seed)
    letters = "abcxyz._-/\\ é€\t\"'%{}0"
    extensions = ["standby", "clean", "image", "log", "poll", "nope", "", "Standby", "standby "]
    for number in range(count):
        extension = rng.choice(extensions)
        word = "".join(rng.choice(letters) for _ in range(rng.randint(0, 8)))
        name = extension + rng.choice([".", "", ".."]) + word
        yield command(f"#{number} {name!r}", name, {}, group="odd names")


def arguments():
    group = "arguments"
    yield command("background: unexpected argument", "image.install_bootloader",
                  {"root_uuid": "x", "nonsense": 1}, group=group)
    yield command("background: missing argument", "image.install_bootloader", {}, group=group)
    yield command("background: wrong type", "image.install_bootloader", {"root_uuid": 5},
                  group=group)
    yield command("immediate: unexpected argument", "standby.sync", {"nonsense": 1}, group=group)
    yield one("the list after a bad argument", "GET", COMMANDS, group=group)


def all_cases():
    yield from contract()
    yield from busy()
    yield from transport()
    yield from malformed(seed=20261123, count=120)
    yield from odd_names(seed=7, count=60)
    # Last: the Python agent's list is broken for good by one of these.
    yield from arguments()
