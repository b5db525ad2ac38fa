"""Documents that come back: a step is echoed with its arguments, so every value is compared."""

import json
import random

from .case import NODE, STEP, WAIT, command, one

G = "documents"
NUMBERS = (
    "0", "-0", "1", "-1", "1.0", "-1.0", "0.0", "-0.0", "1.5", "0.1", "1e3", "1E3", "1e+3", "1e-3",
    "123456789", "4294967296", "9007199254740991", "-9007199254740991", "9007199254740992",
    "1e15", "1e16", "1e17", "1e21", "1e22", "1.7976931348623157e308", "5e-324", "2.5e-10",
    "0.00001", "0.0001", "3.141592653589793", "100000000000000000000.0", "1e0", "10E-1",
)
BEYOND = ("9007199254740993", "-9007199254740993", "18446744073709551616", "1" + "0" * 40,
          "1e309", "-1e400", "NaN", "Infinity", "-Infinity")
TEXTS = ("", " ", "\x00", "\x1f", "\x7f", "\x80", "é", "€", "😀", "\u2028\u2029", "\ufeff", "\uffff",
         "\\", '"', "/", "</script>", "a\tb\nc\rd\be\ff", "'", "{}", "\U0010ffff", "x" * 5000)


def echo(name, value):
    """A clean step whose echo holds `value`, JSON text as it is written."""
    step = json.dumps(STEP | {"x": "@"}).replace('"@"', value)
    return one(G, name, "POST", WAIT, '{"name": "clean.execute_clean_step", "params": {"step": '
               + step + ', "node": ' + json.dumps(NODE) + ', "ports": []}}')


def cases():
    for number in NUMBERS:
        yield echo(f"number {number}", number)
    for number in BEYOND:
        yield echo(f"number beyond {number}", number)
    for text in TEXTS:
        yield echo(f"text {text[:20]!r}", json.dumps(text))
    yield echo("raw UTF-8", '"é€😀"')
    yield echo("escapes", r'"\u00e9\u20ac\ud83d\ude00\/\b\f\n\r\t\\\""')
    yield echo("half a surrogate pair", r'"\ud800"')
    yield echo("a key twice", '{"a": 1, "b": 2, "a": 3}')
    yield echo("odd keys", '{"": 1, " ": 2, "é": 3, "a.b": 4, "0": 5, "\\u0000": 6}')
    for depth in (10, 50, 90, 400):
        yield echo(f"lists {depth} deep", "[" * depth + "]" * depth)
    rng = random.Random(11)
    for index in range(40):
        yield echo(f"document #{index}", json.dumps(document(rng, 4)))
    yield command(G, "many ports", "clean.get_clean_steps",
                  {"node": NODE, "ports": [{"address": f"02:00:00:00:00:{n:02x}", "n": n}
                                           for n in range(200)]})


def document(rng, depth):
    kind = rng.randrange(8 if depth else 6)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.choice((rng.randint(-2**53, 2**53), rng.randint(-9, 99)))
    if kind == 3:
        return rng.choice((rng.random(), rng.gauss(0, 1e6), rng.uniform(-1, 1) * 10**rng.randint(-30, 30)))
    if kind in (4, 5):
        return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 0xd000),
                                       rng.randrange(0x10000, 0x1ffff))))
                       for _ in range(rng.randrange(8)))
    if kind == 6:
        return [document(rng, depth - 1) for _ in range(rng.randrange(5))]
    return {document_key(rng): document(rng, depth - 1) for _ in range(rng.randrange(5))}


def document_key(rng):
    return rng.choice(("a", "b", "name", "step", "é", "")) + str(rng.randrange(5))
