"""Steps that pass or fail, and the figures that a run leaves behind."""

import json
import time
from contextlib import contextmanager

from .errors import LabError


class StepFailed(Exception):
    """A step failed and has been reported; its scenario is over."""


class Report:
    """Counts steps and tells the view."""

    def __init__(self, view):
        self.view, self.passed, self.failed = view, 0, 0

    @contextmanager
    def step(self, title):
        began = time.monotonic()
        self.view.step_started(title)
        try:
            yield
        except LabError as error:
            self.failed += 1
            self.view.step_failed(title, time.monotonic() - began, error)
            raise StepFailed(title) from error
        self.passed += 1
        self.view.step_passed(title, time.monotonic() - began)

    def scenario(self, scenario):
        """Runs one scenario to its end or its first failing step."""
        self.view.scenario(scenario.title)
        try:
            scenario.run()
        except StepFailed:
            pass

    def closing_line(self):
        return f"{self.passed} passed, {self.failed} failed"


class Figures:
    """What `make bench` reads: how long boots took, how big things are, how much memory is used."""

    def __init__(self):
        self.boots, self.memory, self.programs, self.rates = [], {}, {}, {}
        self.power_on, self.current = None, None

    def hear(self, event):
        values = event.values
        if event.kind == "power_on":
            self.power_on, self.current = event.time, None
            if values["device"] == "Pxe":
                self.current = {}
                self.boots.append(self.current)
        elif event.kind == "milestone" and self.current is not None:
            self.current.setdefault(values["event"], round(event.time - self.power_on, 2))
            if values["event"] == "memory":
                used = int(values["memtotal_kb"]) - int(values["memavailable_kb"])
                self.memory = {"total_kb": int(values["memtotal_kb"]), "highest_used_kb": max(used, self.memory.get("highest_used_kb", 0))}
                self.memory.setdefault("used_at_agent_start_kb", used)
            elif values["event"] == "rss":
                peak = int(values.get("vmhwm_kb", 0))
                self.programs[values["program"]] = max(peak, self.programs.get(values["program"], 0))
        elif event.kind == "progress" and int(values.get("rate", 0)) > 0:
            self.rates.setdefault(values.get("phase", "?"), []).append(int(values["rate"]))

    def write(self, path, **more):
        interesting = ("init", "network", "started", "lookup_succeeded", "heartbeat_accepted")
        document = {
            "power_on_to_seconds": [{name: boot[name] for name in interesting if name in boot} for boot in self.boots],
            "memory": self.memory,
            "program_peak_rss_kb": self.programs,
            "progress_bytes_per_second": {phase: max(rates) for phase, rates in self.rates.items()},
            **more,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        return document
