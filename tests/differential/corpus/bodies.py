"""Bodies near valid JSON, and JSON of the wrong type."""

import random

from .case import WAIT, one

M = "malformed"
ALPHABET = '{}[]",:\\\'\x00\t\n 0123456789eE+-.tfnulrasé\u2028😀'
LITERAL = (
    b"\xff\xfe", b'"\xc3"', b"NaN", b"-", b"01", b"1.", b'{"a": 1,}', b"[1,]", b"'a'", b"tru",
    b"nul", b'{"a"}', b'{"a":}', b'{1: 2}', b'"\\x"', b'"\\u12"', b'"\t"', b" ", b"\n\n{", b"{} {}",
    b'{"name"', b"\xef\xbb\xbf{}", b"[[[[", b'"unterminated', b'"\\u12G4"', b'"\\ud800"', b'"\\',
    b'"\\ud800\\u0041"', b"-Infinity", b"Infinity", b"-NaN", b"+1", b".5", b"1e", b"1e+", b"0x10",
    b"1_000", b"True", b"None", b"{,}", b"[,]", b"{}}", b"[]]", b'{"a":1 "b":2}', b'{"a" "b"}',
    b"// x\n{}", b"{}//", b'{"a":\n\n\n1\n,}', b"\x00", b"{}\x00", b"\x0c{}", b"\xc2\xa0{}",
    b'"\x7f', b'{"\xc3\xa9": \xff}', b"\xf0\x9f\x98\x80", b'"\xf0\x9f\x98\x80', b"\xed\xa0\x80",
    b"{\x00}\x00", b"\x00{\x00}", b'{"a": tRue}', b'{"a": nullx}', b'{"a": 1 }x', b"--1", b"1-1",
    b'{"name": "a.b", "params": {}', b'{"name": "a.b", "params": {}}]', b"\r\n\r\n", b'"a" "b"',
)
WRONG_TYPES = (
    b"null", b"1", b'"text"', b'["name", "params"]', b"true", b'"name params"', b"1.5", b"[[]]",
    b'{"name": 5, "params": {}}', b'{"name": null, "params": {}}', b'{"name": [], "params": {}}',
    b'{"name": ["a.b"], "params": {}}', b'{"name": {"a.b": 1}, "params": {}}',
    b'{"name": true, "params": {}}', b'{"name": "a.b", "params": ""}',
    b'{"name": "a.b", "params": 1}', b'{"name": "a.b", "params": [1]}',
    b'{"name": "a.b", "params": {}, "name": "noext"}', b'{"Name": "a.b", "Params": {}}',
    b'{"name ": "a.b", "params": {}}',
    b'{"name": "standby.sync", "params": {"self": 1}}',
    b'{"name": "standby.sync", "params": {"command_name": "x"}}',
)


def cases():
    rng = random.Random(20261123)
    for number in range(250):
        text = mutated(rng, '{"name": "standby.get_partition_uuids", "params": {}}')
        yield one(M, f"#{number} {text!r}", "POST", WAIT, text.encode())
    for body in LITERAL:
        yield one(M, f"body {body!r}", "POST", WAIT, body)
    for body in WRONG_TYPES:
        yield one("wrong types", f"body {body!r}", "POST", WAIT, body)


def mutated(rng, text):
    """One to three deletions, insertions or cuts."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 4):]
        elif kind == 1:
            text = text[:at] + rng.choice(ALPHABET) + text[at:]
        else:
            text = text[:at]
    return text
