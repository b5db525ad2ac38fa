"""Releases of Ironic: the newest, with which everything is tried, and the last one of each older cycle that is supported.

`requirements.txt` names the newest, `releases/CYCLE.txt` the others, each with everything that it needs.
"""

import configparser
import ctypes
import datetime
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .places import LAB, REPOSITORY, VENV

# The variable with the version that is tried; without it, the newest.
VERSION = "IRONIC_RELEASE"
HERE = REPOSITORY / "tests/ironic"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Release:
    """A release; `cycle` is empty for the newest. `options` are pip's."""

    version: str
    cycle: str
    requirements: tuple[str, ...]
    options: tuple[str, ...]

    def __str__(self):
        return f"Ironic {self.version}" + (f" ({self.cycle})" if self.cycle else "")

    @property
    def venv(self) -> Path:
        return LAB / f"venv-{self.version}" if self.cycle else VENV

    def answers_to(self, word: str) -> bool:
        """29, 29.1, 29.1.0 and 2025.1 are one release."""
        return word == self.cycle or f"{self.version}.".startswith(f"{word}.")

    def hooks(self, wanted: str) -> tuple[list[str], list[str]]:
        """Those of the inspection hooks that it has, and the others."""
        [entries] = self.venv.glob("lib/python*/site-packages/ironic-*.dist-info/entry_points.txt")
        points = configparser.ConfigParser()
        points.read(entries)
        there = set(points["ironic.inspection.hooks"])
        names = wanted.split(",")
        return [name for name in names if name in there], [name for name in names if name not in there]


def read(path: Path, cycle: str) -> Release:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    requirements = tuple(line for line in lines if line and not line.startswith("--"))
    options = tuple(word for line in lines if line.startswith("--") for word in line.split())
    version = next(line.removeprefix("ironic==") for line in requirements if line.startswith("ironic=="))
    return Release(version, cycle, requirements, options)


def known() -> list[Release]:
    """All of them, the newest last."""
    older = [read(path, path.stem) for path in (HERE / "releases").glob("*.txt")]
    older.sort(key=lambda release: [int(part) for part in release.version.split(".")])
    return [*older, read(HERE / "requirements.txt", "")]


def current() -> Release:
    """The one that this program tries."""
    *_, newest = releases = known()
    version = os.environ.get(VERSION, newest.version)
    return next(release for release in releases if release.version == version)


def select(words: str, today: datetime.date) -> list[Release]:
    """`all`, or names of releases; `turn` is one of the older ones, another one each week."""
    releases = known()
    if words == "all":
        return releases
    if words == "turn":
        week, older = today.isocalendar().week, releases[:-1]
        turn = older[week % len(older)]
        print(f"it is week {week}: the turn of {turn}", flush=True)
        return [turn]
    chosen = []
    for word in words.replace(",", " ").split():
        found = [release for release in releases if release.answers_to(word)]
        if len(found) != 1:
            raise LabError(f"there is no release {word}; there are {', '.join(map(str, releases))}; all; turn")
        chosen += found
    return chosen


def run_each(releases: list[Release], scenarios: list[str]) -> int:
    """Runs `tests/ironic/run` with each, one after the other; the exit status."""
    libc, failed = ctypes.CDLL(None), []
    for release in releases:
        print(f"\n{release}: {', '.join(scenarios)}", flush=True)
        child = subprocess.Popen([sys.executable, str(HERE / "run"), *scenarios], env={**os.environ, VERSION: release.version},
                                 preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
        try:
            status = child.wait()
        except KeyboardInterrupt:
            return child.wait()
        if status != 0:
            failed.append(release)
    print(f"\nreleases: {len(releases) - len(failed)} passed, {len(failed)} failed{''.join(f'; {release}' for release in failed)}")
    return 1 if failed else 0
