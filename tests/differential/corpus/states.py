"""Commands that are still running: busy, waiting, racing.

A download that hangs keeps both agents busy until the image server lets go.
"""

import json
import threading

from .case import COMMANDS, WAIT, Case, command, one, request

G = "busy"


def download(images):
    info = {"id": "img", "urls": [f"http://127.0.0.1:{images}/hang"], "disk_format": "raw",
            "stream_raw_images": True, "os_hash_algo": "sha256", "os_hash_value": "a" * 64}
    return "standby.prepare_image", {"image_info": info}


def start(name):
    verb, params = download("{IMAGES}")
    return command(G, name, verb, params, wait=False)


def hold(side):
    side.images.hold()
    return []


def release(side):
    side.images.let_go()
    return []


def waiters(count, timeout):
    """As many callers as `count` wait for a command; meanwhile somebody asks for the status."""

    def script(side):
        get = request("GET", "/v1/commands/{LAST}?agent_token={TOK}&wait=true")
        last = side.last
        waiting = [side.connect() for _ in range(count)]
        for connection in waiting:
            connection.send(side.fill(get))
        early = sum(not connection.is_silent(0.05) for connection in waiting)
        side.pause(0.3)
        status = side.ask(request("GET", "/v1/status"), timeout=timeout)
        side.images.let_go()
        answers = [side.describe(connection.answer()) for connection in waiting]
        for connection in waiting:
            connection.close()
        side.last = last
        return [{"status": status["status"], "text": status.get("text")},
                {"early": early, "answers": sorted(answer["status"] for answer in answers),
                 "texts": sorted({answer["text"] for answer in answers})}]

    return script


def race(side):
    """Two callers send a command at the same instant: one of them finds the agent busy."""
    verb, params = download(side.images.port)
    post = side.fill(request("POST", COMMANDS, json.dumps({"name": verb, "params": params})))
    answers = []
    gate = threading.Barrier(6)

    def caller():
        connection = side.connect()
        gate.wait()
        connection.send(post)
        answers.append(side.describe(connection.answer()))
        connection.close()

    callers = [threading.Thread(target=caller) for _ in range(gate.parties)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    return [{"statuses": sorted(answer["status"] for answer in answers),
             "refusals": sorted({a["text"] for a in answers if a["status"] != 200})}]


def cases():
    yield Case(G, "hold the image server", script=hold)
    yield start("start a download")
    yield command(G, "busy", "standby.sync", {})
    yield command(G, "busy before unknown extension", "nope.cmd", {})
    yield command(G, "busy before unknown command", "standby.nope", {})
    yield command(G, "busy before the validator", "standby.prepare_image", {"image_info": {}})
    yield command(G, "no dot before busy", "noext", {})
    yield one(G, "no token before busy", "POST", "/v1/commands/", {"name": "a.b", "params": {}})
    yield one(G, "bad body before busy", "POST", WAIT, "{")
    yield one(G, "list while busy", "GET", COMMANDS)
    for wait in ("1", "yes", "", "false", "on", "true%20", "false&wait=true"):
        yield one(G, f"wait={wait} does not wait", "GET",
                  "/v1/commands/{LAST}?agent_token={TOK}&wait=" + wait)
    yield one(G, "status while busy", "GET", "/v1/status")
    yield Case(G, "let the image server go", script=release)
    yield one(G, "wait for the end", "GET", "/v1/commands/{LAST}?agent_token={TOK}&wait=TrUe")
    yield one(G, "list after the failure", "GET", COMMANDS)

    yield Case(G, "hold again", script=hold)
    yield start("start another download")
    yield Case(G, "eight wait", script=waiters(8, timeout=5))
    yield Case(G, "hold for a crowd", script=hold)
    yield start("start a download for a crowd")
    yield Case(G, "twelve wait", script=waiters(12, timeout=1))

    yield Case(G, "hold for a race", script=hold)
    yield Case(G, "a race", script=race)
    yield Case(G, "let the race go", script=release)
    yield one(G, "the race ends", "GET", "/v1/commands/{LAST}?agent_token={TOK}&wait=true")
    yield one(G, "list after the race", "GET", COMMANDS)
