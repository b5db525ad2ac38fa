"""An unpacked tree whose programs can be run with their own libraries."""

import re
import shutil
import subprocess
from pathlib import Path

from .apt import Problem

TRIPLE = "x86_64-linux-gnu"
LOADER_NAME = "ld-linux-x86-64.so.2"


def run(*argv: str) -> str:
    """Standard output of a program that has to succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"`{' '.join(argv)}` failed:\n{done.stderr.strip()}")
    return done.stdout


class Sysroot:
    """A tree of unpacked packages."""

    LIBRARIES = (f"lib/{TRIPLE}", f"usr/lib/{TRIPLE}", "lib", "usr/lib")
    # Where programs expect the loader.
    LOADER = f"lib64/{LOADER_NAME}"

    def __init__(self, root: Path):
        self.root = root
        self.name = root.parent.name
        private = sorted({path.parent for place in (f"usr/lib/{TRIPLE}", f"lib/{TRIPLE}")
                          for path in (root / place).glob("*/lib*.so*")})
        places = [root / place for place in self.LIBRARIES if (root / place).is_dir()]
        self.search = ":".join(map(str, [*places, *private]))

    @property
    def loader(self) -> str:
        """The tree's own loader: its usual path is a link that leads to the host's."""
        for place in (f"usr/lib/{TRIPLE}", f"lib/{TRIPLE}"):
            path = self.root / place / LOADER_NAME
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
            place = tree / f"lib/{TRIPLE}" / library.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library.resolve(), place)
        if libraries:
            (tree / "lib64").mkdir(exist_ok=True)
            shutil.copy(self.loader, tree / self.LOADER)
            (tree / self.LOADER).chmod(0o755)

    def libraries(self, program: Path) -> set[Path]:
        """The shared libraries of a program; none for a static one."""
        if subprocess.run([self.loader, "--verify", str(program)], capture_output=True, check=False).returncode == 1:
            return set()
        found = set()
        for line in run(self.loader, "--library-path", self.search, "--list", str(program)).splitlines():
            if "not found" in line:
                raise Problem(f"{program.name} needs {line.split()[0]}, which no package of the closure holds")
            match = re.search(r"=> (.+) \(0x", line)
            if match and LOADER_NAME not in match[1]:
                found.add(Path(match[1]))
        return found

    def busybox_applets(self) -> list[str]:
        return run(str(self.find("/bin/busybox")), "--list").split()

    def certificates(self, target: Path) -> None:
        """The bundle that ca-certificates makes when it is installed."""
        bundle = sorted((self.root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        if not bundle:
            raise Problem("the package ca-certificates holds no certificates where they used to be")
        target.write_text("".join(path.read_text() for path in bundle))
