"""An unpacked tree whose programs can be run with their own libraries."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import elf
from .apt import Download, Problem


@dataclass(frozen=True)
class Triple:
    """The names that an architecture has."""

    machine: str  # as `uname -m` says it
    number: int  # in the header of its programs
    loader: str  # where programs expect it, without a slash before it

    @property
    def directory(self) -> str:
        """Where its libraries are, below lib and usr/lib."""
        return f"{self.machine}-linux-gnu"


# By Debian's names.
TRIPLES = {
    "amd64": Triple("x86_64", 62, "lib64/ld-linux-x86-64.so.2"),
    "arm64": Triple("aarch64", 183, "lib/ld-linux-aarch64.so.1"),
}
# Debian's names of the architectures by those of `uname -m`.
ARCHITECTURES = {triple.machine: name for name, triple in TRIPLES.items()}
# Of the programs that this machine runs.
TRIPLE = TRIPLES["amd64"].directory


def run(*argv: str) -> str:
    """Standard output of a program that has to succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"`{' '.join(argv)}` failed:\n{done.stderr.strip()}")
    return done.stdout


class Sysroot:
    """A tree of unpacked packages. Its programs can be started if they are of this machine's architecture."""

    def __init__(self, root: Path, triple: Triple = TRIPLES["amd64"], packages: Sequence[Download] = ()):
        self.root, self.triple, self.packages = root, triple, list(packages)
        self.name = root.parent.name
        own = (f"lib/{triple.directory}", f"usr/lib/{triple.directory}")
        private = sorted({path.parent for place in reversed(own) for path in (root / place).glob("*/lib*.so*")})
        self.places = [*(root / place for place in (*own, "lib", "usr/lib") if (root / place).is_dir()), *private]
        self.search = ":".join(map(str, self.places))

    @property
    def loader(self) -> str:
        """The tree's own loader: its usual path is a link that leads to the host's."""
        name = Path(self.triple.loader).name
        for place in (f"usr/lib/{self.triple.directory}", f"lib/{self.triple.directory}"):
            path = self.root / place / name
            if path.is_file() and not path.is_symlink():
                return str(path)
        raise Problem(f"{self.root} has no loader; the package libc6 is not in it")

    def command(self, program: str, *arguments: str, name: str | None = None) -> list[str]:
        """The words that start a program of the tree, under another name if one is given."""
        renamed = ["--argv0", name] if name else []
        return [self.loader, *renamed, "--library-path", self.search, str(self.find(program)), *arguments]

    def run(self, program: str, *arguments: str, name: str | None = None) -> str:
        return run(*self.command(program, *arguments, name=name))

    def find(self, path: str) -> Path:
        """A file of the tree, with /bin and /usr/bin and their like seen as one."""
        bare = path.lstrip("/").removeprefix("usr/")
        for candidate in (self.root / bare, self.root / "usr" / bare):
            found = self.resolve(candidate)
            if found.exists():
                return found
        raise Problem(f"no package of {self.name} holds {path}")

    def resolve(self, path: Path) -> Path:
        """Follows symbolic links as if the tree were the root directory."""
        for _ in range(16):
            if not path.is_symlink():
                break
            target = path.readlink()
            path = self.root / str(target).lstrip("/") if target.is_absolute() else path.parent / target
        return path

    def install(self, tree: Path, paths: list[str]) -> None:
        """Copies programs with the libraries that they are linked with. Programs with several names
        get links."""
        libraries: set[Path] = set()
        known: dict[bytes, str] = {}
        for path in paths:
            source = self.find(path)
            place = tree / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            first = known.setdefault(source.resolve().read_bytes(), path)
            if first != path:
                place.symlink_to(first)
                continue
            shutil.copy(source.resolve(), place)
            place.chmod(0o755)
            libraries |= self.libraries(source)
        for library in sorted(libraries):
            place = tree / "lib" / self.triple.directory / library.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.resolve(library), place)
        if libraries:
            loader = tree / self.triple.loader
            loader.parent.mkdir(exist_ok=True)
            shutil.copy(self.loader, loader)
            loader.chmod(0o755)

    def libraries(self, program: Path) -> set[Path]:
        """The shared libraries of a program, and theirs; none for a static one."""
        found: dict[str, Path] = {}
        files = [self.resolve(program)]
        while files:
            file = files.pop()
            for name in elf.needed(file):
                if name == Path(self.triple.loader).name or name in found:
                    continue
                place = next((place / name for place in self.places if self.resolve(place / name).is_file()), None)
                if place is None:
                    raise Problem(f"{program.name} needs {name}, which no package of the closure holds")
                found[name] = place
                files.append(self.resolve(place))
        return set(found.values())

    def busybox_applets(self) -> list[str]:
        return run(str(self.find("/bin/busybox")), "--list").split()

    def certificates(self, target: Path) -> None:
        """The bundle that ca-certificates makes when it is installed."""
        bundle = sorted((self.root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        if not bundle:
            raise Problem("the package ca-certificates holds no certificates where they used to be")
        target.write_text("".join(path.read_text() for path in bundle))
