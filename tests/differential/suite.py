"""The differential suite: the same requests to the Python agent and to ours.

    suite.py ORACLE_PYTHON AGENT SHIM    the suite
    suite.py ORACLE_PYTHON               the Python agent beside itself: is it the same twice?

Statuses, headers that matter and bodies are compared after what must differ is named alike:
identifiers, ports, times, versions. What differs on purpose is `differences.TABLE`; an entry
that nothing needs any more is a failure, too.
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections import Counter

import corpus
import differences
from corpus import case as form
from side import Failed, Side, free_port

TOKEN = "differential-token-0123456789-abcdef"
HERE = pathlib.Path(__file__).resolve().parent


def without_order(document):
    """Sorts the keys of what came through a gRPC document (of results, not of records), and the
    steps of each manager by name: Ironic runs them by their priorities. What an argument is good
    for is a sentence of our own.
    """
    records = document.get("commands", [document]) if isinstance(document, dict) else []
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict) and isinstance(record.get("command_result"), dict):
            record["command_result"] = json.loads(
                json.dumps(record["command_result"], sort_keys=True))
            for phase in ("clean_steps", "deploy_steps", "service_steps"):
                for steps in (record["command_result"].get(phase) or {}).values():
                    steps.sort(key=lambda step: step["step"])
                    for argument in (a for step in steps
                                     for a in (step.get("argsinfo") or {}).values()):
                        argument["description"] = bool(argument.get("description"))
    return document


def differing_texts(theirs, ours):
    """How two bodies differ that are not the same bytes."""
    try:
        their, our = without_order(json.loads(theirs)), without_order(json.loads(ours))
    except (TypeError, ValueError):
        return "text"
    if json.dumps(their) == json.dumps(our):
        return "order of keys in command_result"
    # Equal numbers may be spelled in two ways, 1 and 1.0; true is no number.
    if their == our and json.dumps(their).count("true") == json.dumps(our).count("true") \
            and json.dumps(their).count("false") == json.dumps(our).count("false"):
        return "spelling of numbers"
    return "text"


def differing(theirs, ours):
    """The parts in which two descriptions differ: (part, theirs, ours)."""
    if len(theirs) != len(ours):
        yield "number of answers", len(theirs), len(ours)
    for their, our in zip(theirs, ours):
        for part in sorted(set(their) | set(our)):
            if their.get(part) != our.get(part):
                kind = part if part != "text" else differing_texts(
                    their.get(part), our.get(part))
                yield kind, their.get(part), our.get(part)


def judge(case, theirs, ours):
    """What is different and stands in no table, and the entries that were needed."""
    found, used = [], []
    for part, their, our in differing(theirs, ours):
        entry = differences.find(case.group, case.name, part, their, our)
        if entry is None:
            found.append((part, their, our))
        else:
            used.append(entry.key)
    return found, used


def excerpts(their, our, before=80, after=400):
    """Two values from shortly before the place where they part."""
    their, our = repr(their), repr(our)
    same = len(os.path.commonprefix([their, our]))
    begin = max(0, same - before) if len(their + our) > 2 * after else 0
    return [("…" if begin else "") + text[begin:same + after]
            + ("…" if len(text) > same + after else "") for text in (their, our)]


def altered(answers):
    """Copies of answers with one thing wrong in each: none of them may pass."""
    for number, answer in enumerate(answers):
        for part, wrong in (("status", 299), ("text", "altered"), ("server", "altered"),
                            ("content-type", "altered")):
            if part in answer:
                copied = copy.deepcopy(answers)
                copied[number][part] = wrong
                yield part, copied
    if answers:
        yield "number of answers", answers[:-1]


def spawn(log, *argv):
    return subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, cwd="/")


def python_agent(room, python, token=TOKEN):
    room.mkdir()
    port = free_port()
    log = open(room / "agent.log", "wb")
    return Side("the Python agent", port, [
        spawn(log, python, HERE / "oracle.py", port, token, room / "no-disk")], token)


def our_agent(room, agent, shim, token=TOKEN):
    disks = room / "disks"
    disks.mkdir(parents=True)
    with open(disks / "sda.img", "wb") as disk:
        disk.truncate(64 << 20)
    settings = room / "settings.conf"
    settings.write_text("[DEFAULT]\nimage_download_connection_retries = 0\n")
    port, socket_path = free_port(), f"unix:{room}/agent.sock"
    words = ["--agent_token", token] if token else []
    return Side("ours", port, [
        spawn(open(room / "agent.log", "wb"), agent, "--config-file", settings, "--standalone",
              "--grpc-listen", socket_path, "--simulate", disks,
              "--state-dir", room / "agent", *words),
        spawn(open(room / "shim.log", "wb"), shim, "--config-file", settings,
              "--listen_host", "127.0.0.1", "--listen_port", port, "--agent", socket_path,
              "--conductor-listen", f"unix:{room}/conductor.sock",
              "--state-dir", room / "shim", *words)], token)


def without_token():
    """For agents that hold no token: they let nobody in."""
    group = "no token"
    yield form.one(group, "status", "GET", "/v1/status")
    for token in ("", "x", "None", "null", TOKEN):
        yield form.one(group, f"list, token {token!r}", "GET", f"/v1/commands/?agent_token={token}")
        yield form.one(group, f"post, token {token!r}", "POST",
                       f"/v1/commands/?agent_token={token}", {"name": "standby.sync", "params": {}})
    yield form.one(group, "list", "GET", "/v1/commands/")
    yield form.one(group, "one", "GET", "/v1/commands/x")


def play(side, cases):
    """All cases, one after the other."""
    side.wait_until_served()
    return {case.key: side.play(case) for case in cases}


def run(make_theirs, make_ours, token, cases):
    """Plays the same on both sides and returns what was seen of both."""
    with tempfile.TemporaryDirectory(prefix="differential-") as directory:
        room = pathlib.Path(directory)
        sides = [make_theirs(room / "theirs", token), make_ours(room / "ours", token)]
        seen = []
        try:
            for side in sides:
                begin = time.monotonic()
                seen.append(play(side, cases))
                print(f"played {len(cases)} cases on {side.name} "
                      f"in {time.monotonic() - begin:.0f} s", flush=True)
        finally:
            for side in sides:
                side.stop()
        for path in (room / "ours").glob("*.log"):
            text = path.read_text("utf-8", "replace")
            if sides[1].name == "ours" and TOKEN in text:
                raise Failed(f"{path.name} of ours shows the token")
            if "panicked" in text:
                raise Failed(f"{path.name}: {text[text.index('panicked'):][:400]}")
        return seen


def main():
    python, ours = sys.argv[1], sys.argv[2:]

    def make_theirs(room, token):
        return python_agent(room, python, token)

    def make_ours(room, token):
        return our_agent(room, ours[0], ours[1], token) if ours else make_theirs(room, token)

    lists = [("", list(without_token())), (TOKEN, list(corpus.all_cases()))]
    cases = [case for _, part in lists for case in part]
    twice = [key for key, count in Counter(case.key for case in cases).items() if count > 1]
    if twice:
        raise Failed(f"two cases of one name: {twice}")
    theirs: dict = {}
    our: dict = {}
    for token, part in lists:
        seen = run(make_theirs, make_ours, token, part)
        theirs |= seen[0]
        our |= seen[1]
    if os.environ.get("DIFFERENTIAL_DUMP"):
        with open(os.environ["DIFFERENTIAL_DUMP"], "w") as file:
            json.dump({"theirs": theirs, "ours": our}, file, indent=1, ensure_ascii=False)
    sys.exit(report(cases, theirs, our, alone=not ours))


def report(cases, theirs, ours, alone):
    used: Counter[str] = Counter()
    good: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    blind = mutations = 0
    for case in cases:
        found, needed = judge(case, theirs[case.key], ours[case.key])
        used.update(needed)
        (bad if found else good)[case.group] += 1
        if found:
            print(f"DIFFERENT {case.key}")
            for part, their, our in found:
                their, our = excerpts(their, our)
                print(f"    {part}:\n      theirs {their}\n      ours   {our}")
        # The comparison itself must be able to fail, and no entry may hide more than it says.
        for part, wrong in altered(ours[case.key]):
            mutations += 1
            if not judge(case, theirs[case.key], wrong)[0]:
                blind += 1
                print(f"BLIND {case.key}: another {part} was not noticed")
    unused = [entry for entry in differences.TABLE if not used[entry.key] and not alone]
    for entry in unused:
        print(f"UNUSED difference: {entry.key}: {entry.reason}")
    print()
    for group in dict.fromkeys(case.group for case in cases):
        print(f"{group:12} {good[group]:4} alike, {bad[group]:3} different")
    print(f"{len(differences.TABLE)} differences on purpose, needed {sum(used.values())} times; "
          f"{mutations} altered answers, {mutations - blind} noticed")
    failed = sum(bad.values()) + len(unused) + blind
    print(f"{sum(good.values())} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"differential: {error}")
