"""Firmware: what the chosen modules ask for, where it comes from, and what is left out."""

import fnmatch
import shutil
from dataclasses import dataclass
from pathlib import Path

from debian import Problem

# Where packages have it: Debian's usrmerge moved it.
PLACES = ("lib/firmware", "usr/lib/firmware")


@dataclass(frozen=True)
class Row:
    """A line of firmware.list."""

    driver: str
    package: str
    patterns: tuple[str, ...]

    def has(self, file: str) -> bool:
        return any(fnmatch.fnmatchcase(file, pattern) for pattern in self.patterns)


def read_list(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 3:
            raise Problem(f"{path}:{number}: expected `driver package pattern ...`, found {line!r}")
        rows.append(Row(words[0], words[1], tuple(words[2:])))
    return rows


def install(source: str, trees: list[Path], asked: dict[str, set[str]], tree: Path) -> None:
    """Copies firmware into `tree`: of a package what modules ask for (`asked`: files by module), of a site's own
    directory everything. `trees` are what may be the directory /lib/firmware."""
    is_package = "/" not in source
    wanted = set().union(*asked.values())
    found = 0
    for root in trees:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = str(path.relative_to(root))
            if is_package and name.removesuffix(".xz").removesuffix(".zst") not in wanted:
                continue
            place = tree / "lib/firmware" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)  # what a link leads to
            found += 1
    if not found and is_package:
        raise Problem(f"--firmware: no chosen module asks for a file of the package {source}; its driver is added with --modules "
                      f"(ramdisk/firmware.list has the names)")
    if not found:
        raise Problem(f"--firmware: there is no file in {source}")


def package_trees(root: Path, package: str) -> list[Path]:
    """What is /lib/firmware in an unpacked package."""
    found = [root / place for place in PLACES if (root / place).is_dir()]
    if not found:
        raise Problem(f"--firmware: the package {package} holds nothing below /lib/firmware")
    return found


def write_index(rows: list[Row], tree: Path) -> None:
    """What the init reads: a pattern and its package a line."""
    lines = dict.fromkeys(f"{pattern} {row.package}\n" for row in rows for pattern in row.patterns)
    (tree / "etc/firmware.list").write_text("".join(lines))


def absent(asked: dict[str, set[str]], tree: Path) -> list[str]:
    """The modules of which nothing that they ask for is there."""
    def is_there(file):
        return any((tree / "lib/firmware" / f"{file}{ending}").is_file() for ending in ("", ".xz", ".zst"))

    return sorted(module for module, files in asked.items() if not any(map(is_there, files)))
