"""What lies below the routes: versions, connections, lengths, chunks, headers."""

import threading

from .case import COMMANDS, WAIT, Case, Send, followed, one, raw, request

T, F, L = "connections", "framing", "idle"
BODY = b'{"name": "standby.get_partition_uuids", "params": {}}'
STATUS = request("GET", "/v1/status")
HALF = 1.0


def chunked(data, end=b"0\r\n\r\n"):
    return request("POST", WAIT, headers=["Transfer-Encoding: chunked"]) + data + end


def head(*lines, method="GET", target="/v1/status"):
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def cases():
    yield from connections()
    yield from lengths()
    yield from chunks()
    yield from headers()
    yield Case(L, "how long silence lasts", script=silence)


def connections():
    get = "/v1/status"
    yield raw(T, "keep-alive", STATUS, STATUS, STATUS)
    yield raw(T, "pipelining", STATUS + request("GET", "/v1/nope") + STATUS, b"", b"")
    yield raw(T, "pipelined posts", request("POST", WAIT, BODY) + request("POST", WAIT, b"{")
              + request("GET", COMMANDS + "x"), b"", b"")
    yield raw(T, "pipelining after HEAD", Send(request("HEAD", "/v1/status") + STATUS), b"")
    yield raw(T, "connection: close", request("GET", get, headers=["Connection: close"]),
              closes=True)
    yield raw(T, "connection: Close, x", request("GET", get, headers=["Connection: Close"]),
              closes=True)
    yield raw(T, "HTTP/1.0", request("GET", get, version="1.0"), closes=True)
    yield followed(T, "HTTP/1.0 keep-alive",
                   request("GET", get, version="1.0", headers=["Connection: Keep-Alive"]))
    yield raw(T, "HTTP/1.0 post", request("POST", WAIT, BODY, version="1.0"), closes=True)
    yield raw(T, "HTTP/1.0 without host", request("GET", "/", version="1.0", host=None),
              closes=True)
    yield raw(T, "HTTP/1.0 redirect without host", request("GET", "/v1", version="1.0", host=None),
              closes=True)
    for version in ("2.0", "1.2", "0.9", "1", "1.1.1", "x"):
        yield raw(T, f"HTTP/{version}", request("GET", get, version=version))
    yield raw(T, "HTTP/0.9 without version", b"GET /v1/status\r\n\r\n")
    yield raw(T, "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield raw(T, "a TLS hello", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n")
    yield raw(T, "garbage", b"BOGUS\r\n\r\n")
    yield raw(T, "lower-case method", request("get", get))
    yield raw(T, "odd method", request("GE(T", get))
    yield raw(T, "two spaces", b"GET  /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
    yield raw(T, "a tab", b"GET\t/v1/status\tHTTP/1.1\r\nHost: x\r\n\r\n")
    yield raw(T, "a space in the target", b"GET /v1/sta tus HTTP/1.1\r\nHost: x\r\n\r\n")
    yield raw(T, "an empty line first", b"\r\n" + STATUS)
    yield raw(T, "bare line feeds", STATUS.replace(b"\r\n", b"\n"))
    for host in ("ironic.example:123", "[::1]:1", "UPPER.example", "a,b", "", "bad host",
                 "x/y", "<i>", "user@host", "xn--e.example:80", "host:port"):
        yield one(T, f"host {host!r}", "GET", "/", host=host)
        yield one(T, f"redirect to host {host!r}", "GET", "/v1", host=host)
    yield one(T, "no host", "GET", "/", host=None)
    yield raw(T, "two hosts", head("Host: one", "Host: two", target="/"))
    yield one(T, "forwarded headers are ignored", "GET", "/",
              headers=["X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "Forwarded: host=e"])


def lengths():
    for value in ("-1", "x", "", "+5", "1 1", "0x10", "5, 5", "99999999999999999999", "5.0"):
        yield raw(F, f"Content-Length {value!r}",
                  head("Host: x", f"Content-Length: {value}", method="POST", target=WAIT) + BODY)
    yield raw(F, "two lengths, alike", head("Host: x", "Content-Length: 2", "Content-Length: 2",
              method="POST", target=WAIT) + b"{}")
    yield raw(F, "two lengths, unlike", head("Host: x", "Content-Length: 2", "Content-Length: 1",
              method="POST", target=WAIT) + b"{}")
    yield raw(F, "no length", head("Host: x", method="POST", target=WAIT))
    yield followed(F, "GET with a body", request("GET", "/v1/status", b"x" * 100))
    yield followed(F, "DELETE with a body", request("DELETE", "/v1/status", b"x" * 100))
    yield followed(F, "unread body of a refused POST",
                   request("POST", "/v1/commands/?agent_token=no", b"x" * 1000))
    yield followed(F, "unread megabyte", request("POST", "/v1/nope", b"x" * 1_000_000))
    yield followed(F, "405 with a body", request("PUT", "/v1/status", b"x" * 1000))
    yield followed(F, "308 with a body", request("POST", "/v1/commands", BODY))
    # The marks of the body are as long as what they stand for here.
    yield raw(F, "body that never ends", head("Host: x", "Content-Length: 100", method="POST",
              target=WAIT) + BODY, timeout=HALF)
    yield raw(F, "head that never ends", b"GET /v1/status HTTP/1.1\r\nHost: x\r\n", timeout=HALF)
    yield raw(F, "body in two parts", Send(head("Host: x", f"Content-Length: {len(BODY)}",
              method="POST", target=WAIT) + BODY[:10], then="nothing"), BODY[10:])
    expect = ("Host: x", f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    yield raw(F, "expect, body at once", head(*expect, method="POST", target=WAIT) + BODY)
    yield raw(F, "expect, body after 100", Send(head(*expect, method="POST", target=WAIT),
              then="interim"), BODY)
    yield raw(F, "expect, refused", head(*expect, method="POST",
              target="/v1/commands/?agent_token=no") + BODY)
    yield raw(F, "expect something else", head("Host: x", f"Content-Length: {len(BODY)}",
              "Expect: miracles", method="POST", target=WAIT) + BODY)
    yield raw(F, "expect in HTTP/1.0", request("POST", WAIT, BODY, version="1.0",
              headers=["Expect: 100-continue"]), closes=True)


def chunks():
    size = b"%x\r\n" % len(BODY)
    yield raw(F, "chunk extension", chunked(b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n"))
    yield raw(F, "upper-case chunk size", chunked(b"%X\r\n" % len(BODY) + BODY + b"\r\n"))
    yield raw(F, "leading zeros", chunked(b"000" + size + BODY + b"\r\n"))
    yield raw(F, "trailers", chunked(size + BODY + b"\r\n", b"0\r\nX-More: 1\r\n\r\n"))
    yield raw(F, "empty chunked body", chunked(b""))
    yield followed(F, "chunked, then another", chunked(size + BODY + b"\r\n"))
    yield followed(F, "chunked, refused, then another", request(
        "POST", "/v1/commands/?agent_token=no", headers=["Transfer-Encoding: chunked"])
        + size + BODY + b"\r\n0\r\n\r\n")
    yield followed(F, "chunked to nowhere, then another", request(
        "POST", "/v1/nope", headers=["Transfer-Encoding: chunked"])
        + size + BODY + b"\r\n0\r\n\r\n")
    yield raw(F, "bad chunk size", chunked(b"zz\r\n" + BODY + b"\r\n"))
    yield raw(F, "negative chunk size", chunked(b"-5\r\n" + BODY + b"\r\n"))
    yield raw(F, "chunk longer than its size", chunked(b"5\r\n" + BODY + b"\r\n"))
    yield raw(F, "unknown transfer encoding", request("POST", WAIT,
              headers=["Transfer-Encoding: gzip"]))
    yield raw(F, "length and chunks", head("Host: x", "Content-Length: 5",
              "Transfer-Encoding: chunked", method="POST", target=WAIT)
              + size + BODY + b"\r\n0\r\n\r\n")
    yield raw(F, "chunks that never end", chunked(size + BODY + b"\r\n", b""), timeout=HALF)


def headers():
    for kind in ("", "application/json", "application/json; charset=latin-1", "text/plain",
                 "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "é",
                 "application/vnd.openstack.ironic-python-agent.v1+json"):
        yield one(F, f"Content-Type {kind!r}", "POST", WAIT, BODY,
                  headers=[f"Content-Type: {kind}"])
    for accept in ("text/html", "application/xml", "*/*", "application/json;q=0", "garbage"):
        yield one(F, f"Accept {accept!r}", "GET", "/v1/status", headers=[f"Accept: {accept}"])
    for name in ("Accept-Encoding: gzip", "Range: bytes=0-3", "If-None-Match: *", "Origin: x",
                 "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", "Upgrade: h2c",
                 "X-Auth-Token: {TOK}", "Cookie: a=b", "Authorization: Basic Og==",
                 "X-HTTP-Method-Override: DELETE", "Content-Encoding: gzip", "Connection: TE"):
        yield one(F, name, "GET", "/v1/status", headers=[name])
    yield one(F, "Content-Encoding on a body", "POST", WAIT, BODY,
              headers=["Content-Encoding: gzip"])
    yield one(F, "token in a header", "GET", "/v1/commands/", headers=["X-Agent-Token: {TOK}",
              "agent_token: {TOK}"])
    yield raw(F, "header without colon", head("Host: x", "Nonsense"))
    yield raw(F, "header without name", head("Host: x", ": x"))
    yield raw(F, "space before the colon", head("Host : x"))
    yield raw(F, "folded header", head("Host: x", "X-Long: a", "  b"))
    yield raw(F, "folded first header", head(" Host: x"))
    yield raw(F, "NUL in a header", head("Host: x", "X-Nul: a\0b"))
    yield raw(F, "latin-1 in a header", head("Host: x", "X-Name: caf\xe9"))
    yield raw(F, "a hundred headers", head("Host: x", *(f"X-{n}: {n}" for n in range(90))))
    yield raw(F, "a long header", head("Host: x", "X-Long: " + "x" * 20_000))


def silence(side):
    """After how many seconds the other end hangs up: five callers who stop talking."""
    starts = {
        "nothing at all": (b"", False),
        "after an answer": (STATUS, True),
    }
    seen = {}

    def wait(name, data, answered):
        connection = side.connect(timeout=15)
        connection.send(side.fill(data))
        if answered:
            connection.answer()
        seconds = connection.seconds_until_closed(14)
        # The Python agent looks for idle connections now and then, ours to the moment.
        about = "never" if seconds is None else "10 s" if 9 <= seconds <= 12.5 else f"{seconds:.1f} s"
        seen[name] = {"closed after": about, "status": connection.buffer[:20].decode("latin-1")}
        connection.close()

    callers = [threading.Thread(target=wait, args=(name, *what)) for name, what in starts.items()]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return [seen[name] for name in starts]
