"""What differs from the Python agent on purpose, each with its reason. The only such table.

An entry matches by group, name of the case (a regular expression), part of the answer, and,
where given, by what each side says. Every entry must be needed by at least one case.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    key: str
    reason: str
    part: str
    group: str = ".*"
    case: str = ".*"
    theirs: str = ".*"
    ours: str = ".*"

    def matches(self, group, case, part, theirs, ours):
        pairs = ((self.group, group), (self.case, case), (self.part, part),
                 (self.theirs, str(theirs)), (self.ours, str(ours)))
        return all(re.fullmatch(pattern, text, re.S) for pattern, text in pairs)


TABLE = [
    Difference(
        "sorted keys", "documents travel as google.protobuf.Struct, which sorts keys; Ironic reads "
        "them by key", part="order of keys in command_result"),
    Difference(
        "wrong types", "a body of the wrong type is the client's mistake and gets the 400 of a body "
        "without name or params; the Python agent answers 500 with a text of its interpreter",
        part="status|text", group="wrong types|malformed", theirs="500|.*Server.*",
        ours="400|.*Missing or invalid name or params.*"),
    Difference(
        "not UTF-8", "a body that is not UTF-8 is named as such; the Python agent guesses UTF-16",
        part="text", group="malformed", theirs=".*Expecting value.*", ours=".*utf-8.*codec.*"),
    Difference(
        "bad argument, immediate", "a bad argument of a synchronous command is a FAILED record; the "
        "Python agent answers 500 and its command list stays broken until it restarts",
        part="status|text", group="arguments",
        case="immediate: unexpected argument|the list after a bad argument",
        theirs="500|.*is not JSON serializable.*"),
    Difference(
        "bad argument type", "a parameter of the wrong type is refused by name before anything starts",
        part="status|text", group="arguments", case="background: wrong type",
        ours="400|.*Invalid command parameters: 'root_uuid' must be a string.*"),
    Difference(
        "missing key", "a document without a key that is needed is refused by name; the Python agent "
        "says that the extension does not exist", part="status|text", group="contract",
        case="node info without config", theirs="404|.*Extension with id poll not found.*",
        ours="400|.*Invalid command parameters: .*"),
    Difference(
        "download failures", "a failed download names the URL and the time that was spent, and is always "
        "of class ImageDownloadError; Ironic shows the details and reads nothing else", part="text",
        theirs=".*ImageDownloadFatalError.*", ours=".*ImageDownloadError.*Received status code 404.*"),
    Difference(
        "keep-alive in lower case", "header values of this kind are case-insensitive", part="connection",
        group="transport", theirs="Keep-Alive", ours="keep-alive"),
    Difference(
        "not HTTP at all", "what is no HTTP/1 request is not answered; the connection is closed",
        part="status|text|content-type|has length", group="transport", case="garbage|HTTP/2.0"),
    Difference(
        "refusals have all headers", "a request that is refused early is answered like any other, with "
        "Server and Date, and says that the connection closes",
        part="server|has date|connection", group="transport",
        case="lower-case method|path of two slashes"),
    Difference(
        "no lecture on methods", "the refusal of a lower-case method is shorter", part="text",
        group="transport", case="lower-case method", theirs="Malformed method name.*",
        ours="Malformed method name"),
]


def find(group, case, part, theirs, ours):
    return next((entry for entry in TABLE if entry.matches(group, case, part, theirs, ours)), None)
