"""Which versions of which packages a release is made of: a file that is kept with the sources.

A line `[ARCHITECTURE LABEL: PACKAGE ...]` begins a set, as it was asked for; then come the package files of it, one a line,
with size and SHA-256.
"""

import re
from pathlib import Path

from .apt import Apt, Download, Problem, write


def names_of(names) -> str:
    """How a set of packages stands in the file."""
    return " ".join(dict.fromkeys(names))


class Lock:
    """The file. `renews` makes it hold what the archive has now."""

    def __init__(self, path: Path, renews: bool = False):
        self.path, self.renews = path, renews
        self.sets: dict[str, tuple[str, list[Download]]] = {} if renews else read(path)

    def __str__(self) -> str:
        return str(self.path)

    def packages(self, architecture: str, label: str, names: str, choose, apt: Apt) -> list[Download]:
        """The packages of a set, which `choose()` would take of the archive as it is."""
        key = f"{architecture} {label}"
        if self.renews:
            apt.refresh()
            self.sets[key] = (names, choose())
        if key not in self.sets:
            raise Problem(f"{self.path} has no packages for {key}: `make update` adds them")
        known, downloads = self.sets[key]
        if known != names:
            raise Problem(f"{self.path}: the set {key} is of `{known}`, but `{names}` is wanted: `make update` locks it anew")
        return downloads

    def save(self) -> None:
        lines = ["# The Debian packages of a release. `make update` renews this file."]
        for key, (names, downloads) in sorted(self.sets.items()):
            lines.append(f"\n[{key}: {names}]")
            lines += [f"{download.file} {download.size} {download.sha256}" for download in downloads]
        write(self.path, "\n".join(lines) + "\n")


def read(path: Path) -> dict[str, tuple[str, list[Download]]]:
    sets: dict[str, tuple[str, list[Download]]] = {}
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise Problem(f"there is no {path}: `make update` makes it") from None
    downloads: list[Download] | None = None
    for number, line in enumerate(lines, 1):
        if head := re.fullmatch(r"\[(\S+ \S+): ?(.*)\]", line):
            downloads = []
            sets[head[1]] = (head[2], downloads)
        elif package := re.fullmatch(r"(\S+\.deb) (\d+) ([0-9a-f]{64})", line):
            if downloads is None:
                raise Problem(f"{path}:{number}: a package before the first set")
            downloads.append(Download(package[1], int(package[2]), package[3]))
        elif line and not line.startswith("#"):
            raise Problem(f"{path}:{number}: expected `[ARCHITECTURE LABEL: PACKAGE ...]` or `FILE SIZE SHA256`, found {line!r}")
    return sets
