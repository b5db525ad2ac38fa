"""Where the source starts programs, and what the unit tests saw of it."""

import collections
import json
import os
import pathlib
import re
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ("agent/src", "shim/src", "crates")

# Places that no unit test reaches, by a part of the line, with the reason.
UNREACHED = {
    'Cmd::new("mount").args(mount)':
        "mounts the firmware's variables; each UEFI deployment of the laboratory does it",
}


def sites():
    """Each place outside of tests that puts a command together: (file, line) with its text."""
    found = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.rs")):
            if "tests" in path.parts or path.name == "tests.rs":
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.match(r"\s*(pub(\(.*\))? )?mod (tests|testing) \{", line):
                    break
                if "Cmd::new(" in line and not line.lstrip().startswith("//"):
                    found[(str(path.relative_to(REPOSITORY)), number)] = line.strip()
    return found


class Command:
    """A command line as a unit test saw it."""

    def __init__(self, record):
        self.program = record["program"]
        self.arguments = record["args"]
        self.accepted = record["accepted"]
        self.directory = record["directory"]
        self.site = (record["file"], record["line"])

    def __str__(self):
        return " ".join([self.program, *self.arguments])

    def words(self):
        """Program and arguments, with what differs between two runs of a test made equal."""
        words = []
        for word in (self.program, *self.arguments):
            word = re.sub(r"/tmp/\.tmp\w+", "/tmp/place", word)
            # Files of a command have names that nobody can guess.
            word = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json", "name.json", word)
            # The agent's own binary, which the sandbox does not have.
            words.append("/bin/true" if re.search(r"/deps/ironic_agent-\w+$", word) else word)
        return words

    def key(self):
        """Equal for command lines that differ in a disk's or an array's name only."""
        disk = r"/dev/(sd[a-z]+\d*|vd[a-z]+\d*|nvme\d+(n\d+(p\d+)?)?|md\d+(p\d+)?|dm-\d+)\b"
        words = (re.sub(disk, "/dev/disk", word) for word in self.words())
        return (*words, tuple(self.accepted))


def recorded(target):
    """What the unit tests expected to be run: as `make unit` has written it down, if no source is newer."""
    file = target / "recorded.jsonl"
    sources = (path for room in ROOMS for path in (REPOSITORY / room).rglob("*.rs"))
    if file.is_file() and file.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return read(file)
    return record(file)


def record(file):
    """Runs the unit tests; what they expected to be run."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    environment = {**os.environ, "IRONIC_AGENT_RECORD": str(draft)}
    done = subprocess.run(
        ["cargo", "test", "--quiet", "--locked", "-p", "ironic-agent", "--lib"],
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\narguments: the unit tests failed")
    draft.replace(file)
    return read(file)


def read(file):
    """The commands of a recording, each once; and every place that was reached."""
    known = sites()
    commands: dict[tuple, Command] = {}
    reached: collections.Counter = collections.Counter()
    for line in file.read_text().splitlines():
        command = Command(json.loads(line))
        if command.site in known:
            reached[command.site] += 1
            commands.setdefault(command.key(), command)
    return list(commands.values()), reached
