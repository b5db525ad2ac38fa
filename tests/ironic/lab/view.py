"""What somebody sees while it runs: a live timeline on a terminal, plain lines elsewhere."""

import shutil
import sys
import threading
import time

from .errors import last_lines
from .report import Figures

# Milestones that only the figures want.
SAMPLES = ("rss", "memory")
PHASES = {
    "init": "ramdisk: check, drivers, network",
    "started": "agent: start, lookup, first heartbeat",
}


class Phases:
    """The time of an operation, divided by what happened in it."""

    def __init__(self):
        self.rows, self.operation, self.step, self.beaten = [], None, None, False

    def enter(self, label):
        now = time.monotonic()
        if self.rows and self.rows[-1][2] is None:
            self.rows[-1][2] = now
        if label:
            self.rows.append([f"{self.operation}: {label}", now, None])

    def begin(self, operation):
        self.enter(None)
        self.operation = operation
        if operation:
            self.enter("Ironic")

    @property
    def label(self):
        return self.rows[-1][0] if self.rows and self.rows[-1][2] is None else None

    def hear(self, event):
        if self.operation is None:
            return
        name = event.values.get("event")
        if event.kind == "power_on":
            self.beaten = False
            self.enter("firmware and kernel" if event.values["device"] == "Pxe" else "deployed system boots")
        elif event.kind == "deployed" and event.values["word"] == "ready":
            self.enter("Ironic")
        elif event.kind == "milestone":
            if name in PHASES:
                self.enter(PHASES[name])
            elif name == "heartbeat_accepted" and not self.beaten:
                self.beaten = True
                self.enter("Ironic")
            elif name == "command_started":
                command = event.values.get("command", "?")
                step = event.values.get("step") or (self.step if command.startswith("execute_") else None)
                self.enter(step or command)
            elif name == "command_finished":
                self.enter("Ironic")

    def table(self):
        """(label, seconds, how often), in the order of first appearance."""
        sums: dict[str, tuple[float, int]] = {}
        for label, start, end in self.rows:
            seconds, count = sums.get(label, (0.0, 0))
            sums[label] = (seconds + (end or time.monotonic()) - start, count + 1)
        return [(label, seconds, count) for label, (seconds, count) in sums.items()]


class Track:
    """What is seen of one machine: its operations, its console, the scenarios on it."""

    def __init__(self, view, name):
        self.view, self.name, self.lock = view, name, view.lock
        self.phases, self.figures = Phases(), Figures()
        self.progress, self.title, self.title_since = None, None, view.began

    def line(self, text):
        self.view.line(text, self)

    def happening(self, text):
        self.view.happening(text, self)

    def scenario(self, title):
        self.line(f"\n{title}" if self.view.is_single else f"== {title}")

    def step_started(self, title):
        self.title, self.title_since = title, time.monotonic()
        if not self.view.live:
            self.line(f"  ....  {title}")

    def step_passed(self, title, seconds):
        self.title = None
        self.line(f"  pass  {title} ({seconds:.1f} s)")

    def step_failed(self, title, seconds, error):
        self.title = None
        with self.lock:
            self.line(f"  FAIL  {title} ({seconds:.1f} s)")
            self.view.failure(error)

    def step_skipped(self, title, reason):
        self.line(f"  skip  {title}: {reason}")

    def operation(self, name):
        with self.lock:
            self.phases.begin(name)
            self.progress = None

    def state(self, provision, power, step):
        with self.lock:
            self.phases.step = step
        self.happening(f"Ironic: {provision}, {power or 'power unknown'}{f', {step}' if step else ''}")

    def event(self, event):
        with self.lock:
            before = self.phases.label
            self.phases.hear(event)
            self.figures.hear(event)
            if event.kind == "progress":
                self.progress = event.values
            elif self.phases.label != before:
                self.progress = None
        if event.kind == "milestone" and event.values.get("event") not in SAMPLES:
            words = " ".join(f"{key}={value}" for key, value in event.values.items() if key not in ("event", "uptime"))
            self.happening(f"machine: {event.values.get('event')} {words}")
        elif event.kind == "progress" and not self.view.live:
            self.happening(f"machine: {describe(event.values)}")
        elif event.kind in ("notice", "deployed", "power_on"):
            self.happening(f"machine: {event.line.lstrip('# ')[:140]}")

    def summary(self, now):
        """What is going on, how far, how fast, how long."""
        label, since = self.title, self.title_since
        if self.phases.label:
            label, since = self.phases.label, self.phases.rows[-1][1]
        text = f"{self.prefix}{label}, {now - since:.0f} s"
        return f"{text}  {describe(self.progress)}" if self.progress else text

    @property
    def prefix(self):
        return "" if self.view.is_single else f"[{self.name}] "


# Seconds between two lines about preparations, where there is no terminal.
PAUSE = 10


class View:
    """Hears of everything, from the threads of the machines and of their consoles."""

    def __init__(self, out=sys.stdout, live=None, began=None):
        self.out, self.live = out, out.isatty() if live is None else live
        self.began, self.lock = began or time.monotonic(), threading.RLock()
        self.tracks, self.drawn = {}, False
        # Preparations that go on: how far each is, and since when.
        self.statuses = {}
        threading.Thread(target=self.refresh if self.live else self.repeat, daemon=True).start()

    def status(self, name, text):
        """How far a preparation is; None when it has ended."""
        with self.lock:
            known = self.statuses.pop(name, None)
            since = known[1] if known else time.monotonic()
            if text is not None:
                self.statuses[name] = (text, since)
                if not known:
                    self.happening(f"{name}: {text}")
            elif known:
                self.happening(f"{name}: done in {time.monotonic() - since:.0f} s")

    def repeat(self):
        """Says now and then how far the preparations are."""
        said = None
        while True:
            time.sleep(PAUSE)
            with self.lock:
                text = self.preparations(time.monotonic())
            if text and text != said:
                self.happening(text)
                said = text

    def preparations(self, now):
        return " · ".join(f"{name}: {text}, {now - since:.0f} s" for name, (text, since) in sorted(self.statuses.items()))

    def track(self, name):
        with self.lock:
            return self.tracks.setdefault(name, Track(self, name))

    @property
    def is_single(self):
        return len(self.tracks) < 2

    def say(self, text):
        self.happening(text)

    def failure(self, error):
        """An error, and the ends of the logs that explain it."""
        self.line(f"        {error}")
        for log in error.logs:
            self.line(f"        the end of {log}:")
            for text in explaining_lines(log):
                self.line(f"          | {text}")

    # How it looks -------------------------------------------------------------------------

    def happening(self, text, track=None):
        prefix = track.prefix if track else ""
        self.write(f"{time.monotonic() - self.began:7.1f}s {prefix}{text}")

    def line(self, text, track=None):
        self.write(f"{track.prefix if track else ''}{text}")

    def write(self, text):
        with self.lock:
            self.wipe()
            self.out.write(text + "\n")
            self.out.flush()

    def refresh(self):
        """Redraws the line at the bottom."""
        while True:
            time.sleep(0.25)
            with self.lock:
                self.wipe()
                now = time.monotonic()
                busy = [text] if (text := self.preparations(now)) else []
                busy += [track.summary(now) for track in self.tracks.values() if track.title is not None]
                if busy:
                    width = shutil.get_terminal_size((100, 24)).columns - 1
                    self.out.write(f"\x1b[1m{f'{now - self.began:7.1f}s » ' + ' · '.join(busy):.{width}}\x1b[0m")
                    self.out.flush()
                    self.drawn = True

    def wipe(self):
        if self.drawn:
            self.out.write("\r\x1b[2K")
            self.drawn = False

    def table(self):
        """The phases and their times, for each machine."""
        for track in self.tracks.values():
            if rows := track.phases.table():
                self.phase_table(track, rows)

    def phase_table(self, track, rows):
        width = max(len(label) for label, *_ in rows)
        self.line(f"\n{track.prefix}{'phase'.ljust(width)}   seconds")
        for label, seconds, count in rows:
            self.line(f"{label.ljust(width)} {seconds:9.1f}{f'   in {count} parts' if count > 1 else ''}")
        self.line(f"{'total'.ljust(width)} {sum(seconds for _, seconds, _ in rows):9.1f}")


def describe(progress):
    """`write_image 52 % of 79.7 MB, 35.0 MB/s`"""
    done, total, rate = (int(progress.get(key, 0)) for key in ("bytes", "total", "rate"))
    if "done" in progress:
        return f"{progress.get('phase', '')} {progress['done']}{f' of {total}' if total else ''} {progress.get('unit', '')}"
    if 0 < total < 100_000:  # things, not bytes
        return f"{progress.get('phase', '')} {done} of {total}"
    amount = f"{100 * done // total} % of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    if total:
        filled = 20 * min(done, total) // total
        amount = f"[{'#' * filled}{'.' * (20 - filled)}] {amount}"
    return f"{progress.get('phase', '')} {amount}, {rate / 1e6:.1f} MB/s"


def explaining_lines(log):
    """The lines of a log's end that matter: of Ironic's talkative one only the complaints."""
    lines = last_lines(log, 4000)
    if log.name == "ironic.log":
        complaints = [line for line in lines if " ERROR " in line or " WARNING " in line]
        return complaints[-8:] or [line for line in lines if " GET /v1/nodes/" not in line][-5:]
    return [line for line in lines if not any(f"event={sample} " in line for sample in SAMPLES)][-20:]
