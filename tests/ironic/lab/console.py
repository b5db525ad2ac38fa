"""The virtual machine's console, read as a stream of events."""

import re
import threading
import time
from dataclasses import dataclass, field

CONTROL = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
PAIR = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')


NOTABLE = ("BdsDxe: starting", "THIS DEPLOY RAMDISK", "ENDED WITH STATUS", "HOOK GAVE UP", "Kernel panic")


now = time.time


@dataclass
class Event:
    """A line of the console that means something."""

    kind: str  # power_on, milestone, progress, deployed, notice
    time: float  # of this machine, monotonic, when the line was seen
    line: str
    values: dict = field(default_factory=dict)
    clock: float = field(default_factory=now)  # the same moment, since the epoch


class Console:
    """Follows the console's file in a thread; `hear(event)` is called from there."""

    def __init__(self, path, hear):
        self.path, self.hear = path, hear
        self.events, self.lock, self.running = [], threading.Lock(), True
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def stop(self):
        self.running = False
        self.thread.join(2)

    def follow(self):
        rest, position = "", 0
        while self.running:
            try:
                with open(self.path, "rb") as file:
                    file.seek(position)
                    chunk = file.read()
            except FileNotFoundError:
                chunk = b""
            position += len(chunk)
            *lines, rest = (rest + chunk.decode(errors="replace")).replace("\r", "\n").split("\n")
            for line in lines:
                event = read_line(CONTROL.sub("", line).strip())
                if event:
                    with self.lock:
                        self.events.append(event)
                    self.hear(event)
            if not chunk:
                time.sleep(0.05)

    def mark(self):
        """The number of events so far: what comes later is new."""
        with self.lock:
            return len(self.events)

    def find(self, kind, since=0, **values):
        """The first event of a kind with these values, or None."""
        with self.lock:
            for event in self.events[since:]:
                if event.kind == kind and all(event.values.get(key) == value for key, value in values.items()):
                    return event
        return None


def read_line(line):
    now = time.monotonic()
    if line.startswith("#### power on"):
        return Event("power_on", now, line, {"device": line.rpartition(" ")[2]})
    for kind in ("milestone", "progress"):
        found = re.search(rf"\b{kind} (\w+=.*)", line)
        if found:
            return Event(kind, now, line, {key: quoted or bare for key, quoted, bare in PAIR.findall(found[1])})
    if "DEPLOYED-SYSTEM" in line:
        word, _, rest = line.partition("DEPLOYED-SYSTEM ")[2].partition(" ")
        return Event("deployed", now, line, {"word": word, "rest": rest})
    if any(phrase in line for phrase in NOTABLE):
        return Event("notice", now, line)
    return None
