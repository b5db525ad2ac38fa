"""Methods, paths and queries: every method on every route, and odd ways to write both."""

import random

from .case import COMMANDS, command, followed, one, raw, request

METHODS = ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW")
ROUTES = ("/", "/v1/", "/v1", "/v1/status", "/status", COMMANDS, "/commands/?agent_token={TOK}",
          "/v1/commands/", "/v1/commands/x?agent_token={TOK}", "/v1/commands/x", "/v1/commands",
          "/nope")
ODD = (
    "/v1//status", "/v1/commands//?agent_token={TOK}", "/v1/commands/a%20b?agent_token={TOK}",
    "/v1/commands/a%2Fb?agent_token={TOK}", "/v1/commands/a%2fb?agent_token={TOK}",
    "/v1/commands/a+b?agent_token={TOK}", "/v1/commands/%?agent_token={TOK}",
    "/v1/commands/%zz?agent_token={TOK}", "/v1/commands/%00?agent_token={TOK}",
    "/v1/commands/%C3%A9?agent_token={TOK}", "/v1/commands/%FF?agent_token={TOK}",
    "/v1/commands/%F0%9F%98%80?agent_token={TOK}", "/v1/commands/%22?agent_token={TOK}",
    "/v1/commands/a.b;c=d?agent_token={TOK}", "/v1/commands/..?agent_token={TOK}",
    "/v1/commands/?agent_token={TOK}&wait=true&foo=bar", "/v1/commands/?agent%5Ftoken={TOK}",
    "/v1/commands/?AGENT_TOKEN={TOK}", "/v1/commands/?agent_token={TOK}+",
    "/v1/commands/?agent_token=%00", "/v1/commands/?;agent_token={TOK}",
    "/v1/commands/?&&agent_token={TOK}&&", "/v1/commands/?agent_token={TOK}#x",
    "/v1/commands/?agent_token=={TOK}", "/v1/commands/?=&agent_token={TOK}",
    "/v1/commands/?agent_token&agent_token={TOK}", "/v1/commands/??agent_token={TOK}",
    "/v1/commands/?x?agent_token={TOK}", "/v1/commands/?agent_token={TOK}?",
    "/v1/commands/?agent_token={TOK};wait=true", "/v1/commands/?agent_token=%FF",
    "/commands/x?agent_token={TOK}", "/commands?a=1&b=%20&c=%C3%A9&d=+",
    "/v1/commands?agent_token=a%26b", "/v1/commands?", "/v1/commands?%zz", "/v1?x=1", "/v1?",
    "/V1/status", "/v1/status?x=1", "/v1/status?", "/v1/status#x", "/v1/status%20",
    "/v1/status;x", "/v1/%73tatus", "/v1%2Fstatus", "/v1/../v1/status", "/v1/./status", "/.",
    "/v1/..", "/v1/commands/../status", "/status/", "/v1/commands/x/y?agent_token={TOK}",
    "/%", "/%2e", "/v2/", "/v1/v1/", "/nodes/x/v1/status", "/index.html", "/favicon.ico",
    "/v1/status//", "/v1///status?a=//b", "/v1//commands?agent_token={TOK}", "/v1/commands//x",
    "/metrics", "/healthz", "/v1\\status", "/v1/status\"", "/v1/<script>", "/v1/st|atus",
    "/v1/status?<>\"'",
)


def cases():
    for method in METHODS:
        for target in ROUTES:
            yield followed("methods", f"{method} {target}", request(method, target))
    yield one("methods", "OPTIONS *", "OPTIONS", "*")
    yield one("methods", "GET *", "GET", "*")
    yield one("methods", "CONNECT", "CONNECT", "127.0.0.1:{PORT}")
    for target in ODD:
        yield followed("targets", f"GET {target}", request("GET", target))
    for target in ("http://127.0.0.1:{PORT}/v1/status", "HTTP://other/v1/status",
                   "http://other", "//v1/status", "v1/status", "", "?x"):
        yield one("targets", f"GET {target!r}", "GET", target)
    yield raw("targets", "bytes beyond ASCII", b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n")
    yield one("targets", "latin-1 in a query", "GET", "/v1/commands?<>\"'&é")
    yield raw("targets", "UTF-8 in a path", "GET /v1/é HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for size in (4_000, 60_000):
        yield one("targets", f"{size} bytes of query", "GET", "/v1/status?" + "x" * size)
    yield from odd_names(seed=7, count=120)


def odd_names(seed, count):
    """Names of commands near those that exist."""
    rng = random.Random(seed)
    letters = "abcxyz._-/\\ é€😀\t\"'%{}0\x00\x7f\ufeff"
    extensions = ("standby", "clean", "image", "log", "poll", "nope", "", "Standby", "standby ",
                  " standby", "rescue", "system", "flow", "deploy", "service", "iscsi")
    for number in range(count):
        word = "".join(rng.choice(letters) for _ in range(rng.randint(0, 8)))
        name = rng.choice(extensions) + rng.choice((".", ".", "", "..")) + word
        yield command("odd names", f"#{number} {name!r}", name, {})
    for name in ("standby.__init__", "standby._run_shutdown_command", "standby.agent",
                 "standby.command_map", "standby.execute", "clean.Get_Clean_Steps",
                 "standby.cached_image_id", "clean.get_clean_steps ", "standby.get-partition-uuids",
                 "standby.cache_image", "standby.stop_deploy_ramdisk", "a" * 10_000 + ".b",
                 "standby." + "b" * 10_000):
        yield command("odd names", name[:40], name, {})
