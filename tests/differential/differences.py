"""What differs from the Python agent on purpose, each with its reason. The only such table.

An entry names the group, the cases (a regular expression), the parts of the answer, and what
each side says there. Every entry must be needed by at least one case, and none may be so wide
that an altered answer passes: the suite tries.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    key: str
    reason: str
    group: str
    case: str
    part: str
    theirs: str
    ours: str

    def matches(self, group, case, part, theirs, ours):
        pairs = ((self.group, group), (self.case, case), (self.part, part),
                 (self.theirs, str(theirs)), (self.ours, str(ours)))
        return all(re.fullmatch(pattern, text, re.S) for pattern, text in pairs)


HTTP = "connections|framing|targets|methods"
# The parts of an answer that does not come from the application, or does not come at all.
FRAME = "status|text|content-type|length|allow|server|date|connection|interim"
NOTHING = "0||None|none|False"
FAILED = r'200|.*"CommandExecutionError".*'

TABLE = [
    # The command API.
    Difference(
        "sorted keys", "documents travel as google.protobuf.Struct, which sorts keys; Ironic reads "
        "them by key", ".*", ".*", "order of keys in command_result", ".*", ".*"),
    Difference(
        "whole numbers", "a Struct knows one kind of number: 1.0 comes back as 1, which is the same "
        "JSON number", "documents", "number .*|document .*", "spelling of numbers", ".*", ".*"),
    Difference(
        "numbers that would be rounded", "an integral number beyond 2^53, and what is no JSON number "
        "or no text, is refused by name instead of being changed or echoed as invalid JSON",
        "documents", "number .*|document .*|half a surrogate pair", "status|text",
        "200|.*SUCCEEDED.*", r"400|.*Invalid command parameters: step\.x.*"),
    Difference(
        "depth", "a gRPC message nests a hundred levels, three for each of a document: deeper ones are "
        "refused by name", "documents", "lists (50|90|400) deep", "status|text",
        "200|.*SUCCEEDED.*", "400|.*nested.*"),
    Difference(
        "wrong types", "a body of the wrong type is the client's mistake and gets the 400 of a body "
        "without name or params; the Python agent answers 500 with a text of its interpreter",
        "wrong types|malformed", ".*", "status|text", "500|.*Server.*",
        "400|.*Missing or invalid name or params.*"),
    Difference(
        "long heads", "the line and the headers of a request have 32 KiB: they are held for peers that have shown no "
        "token, and Ironic sends a few hundred bytes", "targets", "60000 bytes of query",
        "status|text|content-type|server|connection", r"200|application/json|ironic-python-agent|None|\{.*",
        "431|close|None|"),
    Difference(
        "only UTF-8", "a body is UTF-8, and named as such if it is not; the Python agent guesses "
        "UTF-16", "malformed", ".*", "text", ".*Expecting value.*|.*Missing or invalid.*",
        ".*utf-8.*codec.*|.*Expecting (property name|value).*"),
    Difference(
        "bad argument, immediate", "a bad argument of a synchronous command is a FAILED record; the "
        "Python agent answers 500 and its command list stays broken until it restarts",
        "arguments", "immediate: .*", "status|text", "500|.*is not JSON serializable.*", FAILED),
    Difference(
        "the list survives", "the same: a bad argument never breaks the list",
        "arguments", "the list after a bad argument", "status|text",
        "500|.*is not JSON serializable.*", r'200|\{"commands": \[\{.*'),
    Difference(
        "missing key", "a document without a key that is needed is refused or failed by name; the "
        "Python agent says that the extension does not exist", "contract|arguments",
        "node info without config|immediate: missing key", "status|text",
        "404|.*Extension with id (poll|clean) not found.*",
        f"400|.*Invalid command parameters: .*|{FAILED}"),
    Difference(
        "argument types", "a parameter of the wrong type is refused by name before anything starts",
        "arguments", "background: wrong type|step: a text|image: null", "status|text",
        "200|404|.*FAILED.*|.*not found.*", "400|.*Invalid command parameters: .*"),
    Difference(
        "absent is null", "gRPC does not tell a null step from none", "arguments", "step: null",
        "text", ".*NoneType.*", ".*missing 1 required positional argument.*"),
    Difference(
        "ports are optional", "no step of ours needs an empty list of ports",
        "arguments", "step: (no ports|nothing)", "text",
        ".*(missing 1 required positional argument: 'ports'|missing 3 required).*",
        ".*(SUCCEEDED|missing 2 required).*"),
    Difference(
        "no class names", "there is no class to name in front of a step's name", "arguments",
        "step: (unexpected in args|an extra parameter)", "text",
        r".*TypeError: GenericHardwareManager\.erase_devices_metadata\(\) got an unexpected.*",
        r".*TypeError: erase_devices_metadata\(\) got an unexpected.*"),
    Difference(
        "download failures", "a failed download names the URL and the time that was spent, and is always "
        "of class ImageDownloadError; Ironic shows the details and reads nothing else",
        "busy|targets|sequence|documents|contract", ".*", "texts?",
        ".*ImageDownloadFatalError.*", ".*ImageDownloadError.*Received status code 404.*"),
    Difference(
        "nobody starves", "the Python agent has ten workers, so ten who wait block everybody else, "
        "GET /v1/status included; ours answers", "busy", "twelve wait", "status|text",
        "no answer in time|None", r'200|\{"started_at": .*'),

    # Flows.
    Difference(
        "a flow is read first", "what is wrong with a flow is refused before its first command runs, and "
        "leaves no record; the Python agent finds it on the way, on a machine that is half changed",
        "flow", "an unknown extension|wrong parameters", "status|text",
        "200|.*FAILED.*(RequestedObjectNotFoundError|InvalidCommandParamsError).*",
        "400|.*Invalid command parameters: (Extension with id nope not found|Image is missing).*"),
    Difference(
        "one command in an object", "documents lose the order of their keys on the wire, and in a flow it "
        "would matter", "flow", "two commands in one object", "status|text", "200|.*SUCCEEDED.*",
        r"400|.*'flow\[0\]' holds several commands.*"),
    Difference(
        "a flow says why", "a flow that ends tells the reason of the command that failed", "flow",
        "a command that fails", "text", ".*clean.execute_clean_step was failed\".*",
        ".*clean.execute_clean_step was failed: .*Malformed clean_step.*"),
    Difference(
        "a mismatch ends a flow", "the Python agent goes on after a step that did not run for another "
        "version's sake", "flow", "another version", "text", ".*SUCCEEDED.*",
        ".*clean.execute_clean_step was failed: .*version mismatch.*"),
    Difference(
        "a flow is a list of objects", "what is no flow is refused by what it should be; the Python agent "
        "takes letters for commands, or fails on its own error", "flow", "null|a text|a list of texts",
        "status|text", "500|.*not JSON serializable.*|.*must be of the form.*",
        r"200|.*missing 1 required positional argument.*|.*'flow(\[0\])?' must be.*"),
    Difference(
        "null for no parameters", "the wire knows no difference between null and no parameters", "flow",
        "null for parameters", "text", ".*must be a mapping, not NoneType.*", ".*SUCCEEDED.*"),

    # HTTP below it.
    Difference(
        "keep-alive in lower case", "header values of this kind are case-insensitive, and the hint "
        "about the time is left out", "connections", "HTTP/1.0 keep-alive",
        "connection|keep-alive", "Keep-Alive|timeout=10", "keep-alive|None"),
    Difference(
        "not HTTP/1.1", "what is no well-formed HTTP/1 request gets an empty 400 (the preface of HTTP/2 "
        "nothing), and the connection is closed. The Python agent explains it in text/plain, or "
        "guesses", HTTP,
        r"HTTP/(2\.0|1\.2|0\.9|1|1\.1\.1|x|0\.9 without version|2 preface)|a TLS hello|garbage|"
        r"odd method|two spaces|a tab|a space in the target|bytes beyond ASCII|latin-1 in a query|"
        r"GET ('.*'|/v1/<script>|/v1/status\?<>.*)|"
        r"Content-Length .*|two lengths, unlike|header without colon|header without name|"
        r"space before the colon|folded header|folded first header|NUL in a header",
        FRAME, ".*", f"{NOTHING}|400|close|True|right"),
    Difference(
        "broken chunks", "a body that breaks off is the client's mistake, in one sentence", "framing",
        "bad chunk size|negative chunk size|chunk longer than its size", FRAME, ".*",
        "400|close|True|application/json|ironic-python-agent|right|.*could not be read to its end.*"),
    Difference(
        "refusals have all headers", "a request that is refused early is answered like any other, "
        "with Server and Date, and says when the connection closes", HTTP,
        "lower-case method|GET 'HTTP.*|GET 'http.*|GET '//.*|length and chunks|expect, refused|"
        "unknown transfer encoding", "server|date|connection|content-type",
        "None|False|text/plain", "ironic-python-agent|True|close|None"),
    Difference(
        "no lecture on methods", "the refusal of a lower-case method is shorter", "connections",
        "lower-case method", "text", "Malformed method name.*", "Malformed method name"),
    Difference(
        "unknown transfer encoding", "an encoding that is not known is a bad request", "framing",
        "unknown transfer encoding", "status", "501", "400"),
    Difference(
        "odd targets", "CONNECT is no method of ours, and a target of bytes beyond ASCII or * is "
        "looked up like any other: there is nothing", "methods|targets",
        "CONNECT|GET \\*|UTF-8 in a path", f"{FRAME}", "4..||None|text/plain|False|right|"
        "Malformed Request-URI|Invalid path.*", "40[04]|ironic-python-agent|close|True|text/plain|"
        "application/json|right|Absolute URI not allowed.*|.*404 Not Found.*"),
    Difference(
        "fragments", "a fragment is not part of a request's target and is ignored", "targets",
        "GET .*#x", FRAME, "400|0|None|none|False|text/plain||Illegal #fragment.*",
        r'200|ironic-python-agent|application/json|True|right|\{"(commands|started_at)".*'),
    Difference(
        "empty query", "a redirect keeps the question mark of an empty query", "targets",
        r"GET /v1(/commands)?\?", "location|text", ".*:<port>/v1/(commands/)?(\".*)?",
        ".*/v1/(commands/)?\\?.*"),
    Difference(
        "nodes", "below /nodes/ are the nodes of a gateway, and the text says that there is none",
        "targets", "GET /nodes/.*", "text", ".*404 Not Found.*", ".*Node with id x not found.*"),
    Difference(
        "Host as it came", "links show the Host header, the first if there are two, byte for byte: "
        "the Python agent drops a host that it finds odd, or fails on it", "connections",
        "(redirect to )?host '(?!ironic|\\[).*|two hosts", "status|text|location", ".*",
        '200|http://.*|\\{"name": "OpenStack.*|<!doctype html>.*'),
    Difference(
        "close means close", "a connection that is to be closed is closed at once, however the word "
        "is spelled", "connections", "connection: Close, x", "closes|connection", "False|None",
        "True|close"),
    Difference(
        "line feeds", "lines that end in a bare line feed are understood", "connections",
        "bare line feeds", FRAME, "400|False|None|text/plain|HTTP requires.*",
        r'200|True|ironic-python-agent|application/json|\{"started_at".*'),
    Difference(
        "100 when it matters", "100 Continue is sent when the body is wanted, and never to HTTP/1.0",
        "framing", "expect, refused|expect in HTTP/1.0", "interim", r"\[100\]", "None"),
    Difference(
        "refused chunks are read", "after a refusal the rest of a chunked body is read, and the next "
        "request answered; the Python agent takes the body for a request", "framing",
        "chunked(, refused| to nowhere), then another", FRAME,
        "400|text/plain|False|None|Malformed Request-Line",
        r'200|application/json|True|ironic-python-agent|\{"started_at".*'),
]


def find(group, case, part, theirs, ours):
    return next((entry for entry in TABLE if entry.matches(group, case, part, theirs, ours)), None)
