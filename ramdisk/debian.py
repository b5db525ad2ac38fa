"""Debian packages: downloaded and unpacked, never installed."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


class Problem(Exception):
    """Something that whoever builds the ramdisk has to put right."""


def run(*argv, **options):
    """Standard output of a program that has to succeed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, **options)
    except FileNotFoundError as error:
        raise Problem(f"the program {argv[0]} is missing; this runs on Debian and its relatives") from error
    if done.returncode != 0:
        raise Problem(f"{' '.join(map(str, argv))} failed:\n{done.stderr.strip()}")
    return done.stdout


@dataclass
class Kernel:
    """An unpacked kernel package."""

    version: str
    root: Path

    @property
    def image(self):
        return self.root / "boot" / f"vmlinuz-{self.version}"

    @property
    def modules(self):
        return self.root / "lib/modules" / self.version


class Packages:
    """Downloads of the distribution's package archive, kept in a directory."""

    def __init__(self, cache):
        self.downloads = cache / "downloads"
        self.unpacked = cache / "unpacked"
        self.downloads.mkdir(parents=True, exist_ok=True)
        self.unpacked.mkdir(parents=True, exist_ok=True)

    def kernel(self):
        """The distribution's current kernel, with its modules."""
        found = self.find_kernel()
        if not found and os.geteuid() == 0:
            run("apt-get", "update")  # a machine that never read its package lists
            found = self.find_kernel()
        if not found:
            raise Problem("no package linux-image-amd64 is known; run `apt-get update` as root first")
        root = self.unpack([found[1]])
        return Kernel(found[2], root)

    @staticmethod
    def find_kernel():
        listed = subprocess.run(
            ["apt-cache", "depends", "--important", "linux-image-amd64"], capture_output=True, text=True
        )
        return re.search(r"Depends: (linux-image-(\S+))", listed.stdout)

    def sysroot(self, names):
        """The named packages and the libraries that they need, unpacked into one tree."""
        names = [*names, "libc6", "ca-certificates", "kmod"]
        closure = run(
            "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
            "--no-breaks", "--no-replaces", "--no-enhances", *names,
        )
        libraries = {line.split(":")[0] for line in closure.splitlines() if re.match(r"(lib[a-z0-9]|zlib1g)", line)}
        # Of the closure only what holds plain shared libraries; an alternative that was not
        # meant is harmless, because only files that a tool is linked with are taken.
        known = run("apt-cache", "--no-all-versions", "show", *sorted(libraries))
        real = set(re.findall(r"^Package: (\S+)", known, re.M))
        unwanted = re.compile(r"lib.*-(perl|bin|dev|data|common|doc)$|libperl|libdebconf|libc6-i386|libgtk")
        return Sysroot(self.unpack(sorted(set(names) | {name for name in real if not unwanted.search(name)})))

    def unpack(self, names):
        """The tree of the named packages; its directory is named after their versions."""
        listed = run("apt-get", "download", "--print-uris", *names).splitlines()
        wanted = {}
        for line in listed:
            _, file, size, *_ = line.split()
            wanted[file] = int(size)
        if not wanted:
            raise Problem(f"apt knows no download of {', '.join(names)}; run `apt-get update` as root first")
        label = hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:16]
        tree = self.unpacked / (names[0] + "-" + label)
        if tree.is_dir():
            return tree
        missing = [file for file, size in wanted.items() if not self.has(file, size)]
        if missing:
            packages = [file.split("_")[0] for file in missing]
            print(f"ramdisk: downloading {len(packages)} packages", flush=True)
            run("apt-get", "download", "-q", *packages, cwd=self.downloads)
        draft = tree.with_name(tree.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for file in sorted(wanted):
            run("dpkg-deb", "-x", str(self.downloads / file), str(draft))
        draft.rename(tree)
        return tree

    def has(self, file, size):
        path = self.downloads / file
        return path.is_file() and path.stat().st_size == size


class Sysroot:
    """An unpacked tree whose programs can be run with their own libraries."""

    LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib")
    LOADER = "lib64/ld-linux-x86-64.so.2"

    def __init__(self, root):
        self.root = root
        self.name = root.name
        self.search = ":".join(str(root / place) for place in self.LIBRARIES)

    def run(self, program, *arguments, name=None):
        """Runs a program of the tree, under another name if one is given."""
        loader = str(self.root / self.LOADER)
        renamed = ["--argv0", name] if name else []
        return run(loader, *renamed, "--library-path", self.search, str(self.find(program)), *arguments)

    def find(self, path):
        """A file of the tree, with /bin and /usr/bin and their like seen as one."""
        bare = path.lstrip("/").removeprefix("usr/")
        for candidate in (self.root / bare, self.root / "usr" / bare):
            if candidate.exists():
                return candidate
        raise Problem(f"no package of tools.list holds {path}")

    def install(self, tree, paths):
        """Copies programs with the libraries that they are linked with. Programs with several names
        get links."""
        libraries, known = set(), {}
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
            place = tree / "lib/x86_64-linux-gnu" / library.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library.resolve(), place)
        if libraries:
            (tree / "lib64").mkdir(exist_ok=True)
            shutil.copy((self.root / self.LOADER).resolve(), tree / self.LOADER)
            (tree / self.LOADER).chmod(0o755)

    def libraries(self, program):
        """The shared libraries of a program; none for a static one."""
        loader = str(self.root / self.LOADER)
        if subprocess.run([loader, "--verify", str(program)], capture_output=True).returncode == 1:
            return set()
        found = set()
        for line in run(loader, "--library-path", self.search, "--list", str(program)).splitlines():
            if "not found" in line:
                raise Problem(f"{program.name} needs {line.split()[0]}, which no package of the closure holds")
            match = re.search(r"=> (\S+) \(", line)
            if match and not match[1].startswith("/lib64/ld-"):
                found.add(Path(match[1]))
        return found

    def busybox_applets(self):
        return run(str(self.find("/bin/busybox")), "--list").split()

    def certificates(self, target):
        """The bundle that ca-certificates makes when it is installed."""
        bundle = sorted((self.root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        if not bundle:
            raise Problem("the package ca-certificates holds no certificates where they used to be")
        target.write_text("".join(path.read_text() for path in bundle))
