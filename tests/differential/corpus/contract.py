"""The rows of the REST contract that need no hardware."""

import json

from .case import COMMANDS, NODE, STEP, WAIT, command, one, raw, request

G = "contract"


def cases():
    """The rows of the REST contract that need no hardware."""
    yield one(G, "root", "GET", "/")
    yield one(G, "v1 redirects", "GET", "/v1")
    yield one(G, "v1", "GET", "/v1/")
    yield one(G, "status", "GET", "/v1/status")
    yield one(G, "status with slash", "GET", "/v1/status/")
    yield one(G, "bare status", "GET", "/status")
    yield one(G, "no such route", "GET", "/v1/nope")
    yield one(G, "delete status", "DELETE", "/v1/status")
    yield one(G, "post to one command", "POST", "/v1/commands/abc", "{}")
    yield one(G, "list redirects", "GET", "/v1/commands?agent_token={TOK}")
    yield one(G, "post redirects", "POST", "/v1/commands?agent_token={TOK}&wait=true", "{}")
    yield one(G, "bare list redirects", "GET", "/commands")
    yield one(G, "list without token", "GET", "/v1/commands/")
    yield one(G, "list with empty token", "GET", "/v1/commands/?agent_token=")
    yield one(G, "list with wrong token", "GET", "/v1/commands/?agent_token=nope")
    yield one(G, "first token wrong", "GET", "/v1/commands/?agent_token=x&agent_token={TOK}")
    yield one(G, "second token wrong", "GET", "/v1/commands/?agent_token={TOK}&agent_token=x")
    yield one(G, "token in the body", "POST", "/v1/commands/",
              {"name": "standby.sync", "params": {"agent_token": "{TOK}"}})
    yield one(G, "wrong token before bad body", "POST", "/v1/commands/?agent_token=x", "garbage")
    yield one(G, "empty list", "GET", COMMANDS)
    yield one(G, "bare empty list", "GET", "/commands/?agent_token={TOK}")
    yield one(G, "no such command record", "GET", "/v1/commands/abc?agent_token={TOK}")
    yield one(G, "record with slash", "GET", "/v1/commands/abc/?agent_token={TOK}")
    for text in ("garbage", ""):
        yield one(G, f"body {text!r}", "POST", COMMANDS, text)
    bodies: tuple = ({}, {"name": "x"}, {"params": {}}, {"name": "a.b", "params": []}, {"name": "a.b", "params": None}, [])
    for body in bodies:
        yield one(G, f"body {json.dumps(body)}", "POST", COMMANDS, body)
    for verb in ("noext", "", "nope.cmd", ".", "standby.nope", "standby.a.b", "clean.", ".sync"):
        yield command(G, f"verb {verb!r}", verb, {})
    yield one(G, "text/plain and an extra key", "POST", WAIT,
              {"name": "standby.get_partition_uuids", "params": {}, "more": 1},
              headers=["Content-Type: text/plain"])
    chunk = b'{"name": "standby.get_partition_uuids", "params": {}}'
    yield raw(G, "chunked body", request("POST", WAIT, headers=["Transfer-Encoding: chunked"])
              + b"%x\r\n" % len(chunk) + chunk + b"\r\n0\r\n\r\n")
    yield raw(G, "chunked body in pieces",
              request("POST", WAIT, headers=["Transfer-Encoding: chunked"])
              + b"".join(b"1\r\n" + bytes([c]) + b"\r\n" for c in chunk) + b"0\r\n\r\n")
    yield one(G, "20 MB body", "POST", WAIT, json.dumps(
        {"name": "standby.get_partition_uuids", "params": {}, "pad": "x" * 20_000_000}))
    yield command(G, "partition uuids", "standby.get_partition_uuids", {})
    yield command(G, "clean steps", "clean.get_clean_steps", {"node": NODE, "ports": []})
    yield command(G, "deploy steps", "deploy.get_deploy_steps", {"node": NODE, "ports": []})
    yield command(G, "service steps", "service.get_service_steps", {"node": NODE, "ports": []})
    run = {"step": STEP, "node": NODE, "ports": []}
    yield command(G, "a clean step", "clean.execute_clean_step", run)
    yield command(G, "a clean step, version null", "clean.execute_clean_step",
                  run | {"clean_version": None})
    yield command(G, "a clean step, right version", "clean.execute_clean_step",
                  run | {"clean_version": {"generic_hardware_manager": "1.2"}})
    for phase in ("clean", "deploy", "service"):
        yield command(G, f"{phase}: version mismatch", f"{phase}.execute_{phase}_step",
                      run | {f"{phase}_version": {"generic_hardware_manager": "0.1"}})
        yield command(G, f"{phase}: unknown step", f"{phase}.execute_{phase}_step",
                      {"step": {"step": "no_such_step"}, "node": NODE, "ports": []})
        yield command(G, f"{phase}: step without name", f"{phase}.execute_{phase}_step",
                      {"step": {"interface": "deploy"}, "node": NODE, "ports": []})
        yield command(G, f"{phase}: no step", f"{phase}.execute_{phase}_step",
                      {"node": NODE, "ports": []})
    yield command(G, "a step with args null", "clean.execute_clean_step",
                  {"step": STEP | {"args": None}, "node": NODE, "ports": []})
    yield command(G, "numbers and text survive in the echo", "clean.execute_clean_step",
                  {"step": STEP | {"x": [1, 1.5, -3, 2**53, "é€😀", None, True]},
                   "node": NODE, "ports": []})
    image = "standby.prepare_image"
    for info in ({}, {"id": "i"}, {"id": "i", "urls": []}, {"id": "i", "urls": "u"},
                 {"id": "i", "urls": ["http://x"], "os_hash_algo": "sha256"},
                 {"id": "i", "urls": ["http://x"], "os_hash_value": "aa"},
                 {"id": "i", "urls": ["http://x"], "checksum": 5},
                 {"id": "i", "urls": ["http://x"], "checksum": ""},
                 {"id": "i", "urls": ["http://x"], "checksum": "d41d8cd98f00b204e9800998ecf8427e"},
                 {"id": "i", "urls": ["http://x"]}):
        yield command(G, f"image {json.dumps(info)}", image, {"image_info": info})
    yield command(G, "wait has no effect on refusals", image, {"image_info": {}}, wait=False)
    yield command(G, "node info without config", "poll.set_node_info", {"node_info": {}})
    yield command(G, "sync", "standby.sync", {})
    yield one(G, "the list so far", "GET", COMMANDS)
    yield one(G, "the last record", "GET", "/v1/commands/{LAST}?agent_token={TOK}")
    yield one(G, "the last record, waiting", "GET",
              "/v1/commands/{LAST}?agent_token={TOK}&wait=true")
    yield one(G, "the last record, bare", "GET", "/commands/{LAST}?agent_token={TOK}")
    yield one(G, "the last record without token", "GET", "/v1/commands/{LAST}")
    yield one(G, "HEAD of the list", "HEAD", COMMANDS)
    yield command(G, "collected logs", "log.collect_system_logs", {})
