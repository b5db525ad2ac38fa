"""Steps that pass or fail, and the figures that a run leaves behind."""

import json
import os
import re
import threading
import time
from contextlib import contextmanager
from datetime import datetime

from .errors import LabError


class StepFailed(Exception):
    """A step failed or was skipped, which has been reported; its scenario is over."""


class Skip(Exception):
    """The rest of the scenario cannot be done here; the text says why."""


class Report:
    """Counts steps and tells the view. One for all machines; each goes through its own `Lane`."""

    def __init__(self, view):
        self.view, self.lock = view, threading.Lock()
        self.passed, self.failed, self.skipped, self.failures = 0, 0, 0, []
        self.is_over = False

    def closing_line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"

    def count(self, passed=0, failed=0, skipped=0):
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped


class Lane:
    """The steps on one machine."""

    def __init__(self, report, track):
        self.report, self.view = report, track

    @contextmanager
    def step(self, title):
        began = time.monotonic()
        self.view.step_started(title)
        try:
            yield
        except Skip as reason:
            self.report.count(skipped=1)
            self.view.step_skipped(title, reason)
            raise StepFailed(title) from reason
        except (LabError, OSError, LookupError, ValueError) as error:
            if self.report.is_over:
                raise StepFailed(title) from error
            if not isinstance(error, LabError):
                error = LabError(f"{type(error).__name__}: {error}")
            self.report.count(failed=1)
            self.report.failures.append(f"{self.view.prefix}{title}: {error}")
            self.view.step_failed(title, time.monotonic() - began, error)
            raise StepFailed(title) from error
        else:
            self.report.count(passed=1)
            self.view.step_passed(title, time.monotonic() - began)

    def scenario(self, scenario):
        """Runs one scenario to its end or its first failing step."""
        self.view.scenario(scenario.title)
        try:
            scenario.check_images()
            scenario.run()
        except StepFailed:
            pass
        finally:
            self.view.operation(None)
            scenario.tidy()


class Figures:
    """What `make bench` reads: how long boots took, how big things are, how much memory is used."""

    def __init__(self):
        self.boots, self.memory, self.programs, self.rates = [], {}, {}, {}
        self.current = self.node = None

    def hear(self, event):
        values = event.values
        if event.kind == "power_on":
            self.current = None
            if values["device"] == "Pxe":
                self.current = {"power_on": event.time, "at": event.clock}
                self.boots.append(self.current)
        elif event.kind == "milestone" and self.current is not None:
            self.current.setdefault(values["event"], event.time)
            if values["event"] == "memory":
                self.remember_memory(values)
            elif values["event"] == "rss":
                peak = int(values.get("vmhwm_kb", 0))
                self.programs[values["program"]] = max(peak, self.programs.get(values["program"], 0))
        elif event.kind == "progress" and int(values.get("rate", 0)) > 0:
            self.rates.setdefault(values.get("phase", "?"), []).append(int(values["rate"]))

    def remember_memory(self, values):
        total = int(values["memtotal_kb"])
        used = total - int(values["memavailable_kb"])
        self.memory.setdefault("total_kb", total)
        self.memory.setdefault("used_at_agent_start_kb", used)
        self.memory["highest_used_kb"] = max(used, self.memory.get("highest_used_kb", 0))

    def write(self, path, ironic_log, **more):
        beats = heartbeats(ironic_log, self.node) if self.node else []
        document = {
            "power_on_to_seconds": [self.boot(boot, beats) for boot in self.boots],
            "memory": self.memory,
            "program_peak_rss_kb": self.programs,
            "progress_bytes_per_second": {phase: max(rates) for phase, rates in self.rates.items()},
            "load_average": os.getloadavg()[2],
            **more,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        return document

    def boot(self, boot, beats):
        """Seconds since power-on. The machine's own lines reach the console up to a second late;
        the first heartbeat is the one that Ironic saw."""
        after = {name: round(boot[name] - boot["power_on"], 2) for name in ("init", "network", "started") if name in boot}
        later = [other["at"] for other in self.boots if other["at"] > boot["at"]]
        first = next((beat for beat in beats if boot["at"] < beat < min(later, default=float("inf"))), None)
        if first is not None:
            after["first_heartbeat"] = round(first - boot["at"], 2)
        return after


def heartbeats(ironic_log, node):
    """When Ironic accepted heartbeats of a node, in seconds since the epoch."""
    line = re.compile(rf"^(\S+ \S+) .* POST /v1/heartbeat/{node} - 202 ")
    with open(ironic_log, errors="replace") as log:
        return [datetime.fromisoformat(found[1]).timestamp() for found in map(line.match, log) if found]
