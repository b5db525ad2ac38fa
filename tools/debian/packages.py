"""Unpacked packages, each set in a directory of its own that is never changed once it is there."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import programs
from .apt import HOST_ETC, NATIVE, Apt, Download, Problem
from .lock import Lock, names_of
from .sysroot import TRIPLES, Sysroot

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").absolute()
# Ubuntu's name of its usual kernel; Debian's ends with the architecture.
GENERIC_KERNEL = "linux-image-generic"
# In each unpacked tree: the packages that are in it.
LISTED = "packages.json"
# What only the installation of packages needs. Nothing is installed here.
UNUSED = frozenset(
    "adduser apt base-files base-passwd cdebconf debconf debconf-2.0 debianutils dpkg init-system-helpers install-info "
    "passwd sensible-utils systemd systemd-sysv ucf".split())
# What apt says of a version that the lists no longer have, or that they have and the archive has not.
GONE = re.compile(r"Version '\S+' for '\S+' was not found|Unable to locate package \S+|Failed to fetch \S+\s+404")
KEPT_UNUSED = 24 * 3600  # seconds after which a tree of older packages is removed


@dataclass
class Kernel:
    """An unpacked kernel."""

    version: str
    root: Path
    packages: list[Download] = field(default_factory=list)

    @property
    def image(self) -> Path:
        return self.root / "boot" / f"vmlinuz-{self.version}"

    @property
    def modules(self) -> Path:
        return self.root / "lib/modules" / self.version


class Packages:
    """Packages of the host's sources, below a directory (default: `target/packages`, or `target/packages-ARCHITECTURE` for
    another architecture than this machine's).

    With a `lock` the packages are those that it lists. Several processes may use one directory; whatever is killed half way
    is done again by the next run.
    """

    def __init__(self, directory: Path | None = None, say=None, etc: Path | None = None, architecture: str = NATIVE,
                 lock: Lock | None = None):
        if architecture not in TRIPLES:
            raise Problem(f"the architecture {architecture} is not known; there are {', '.join(TRIPLES)}")
        self.architecture, self.lock = architecture, lock
        usual = "packages" if architecture == NATIVE else f"packages-{architecture}"
        self.directory = Path(directory or TARGET / usual).absolute()
        self.say = say or (lambda text: print(f"packages: {text}", flush=True))
        if ":" in str(self.directory) or ";" in str(self.directory):
            raise Problem(f"the loader of programs cannot search in {self.directory}: it has a colon or semicolon")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.apt = Apt(self.directory, self.say, etc or Path(os.environ.get("APT_ETC") or HOST_ETC), architecture)
        self.unpacked = self.directory / "unpacked"
        self.unpacked.mkdir(exist_ok=True)

    def kernel(self) -> Kernel:
        """The distribution's current kernel, with its modules."""
        with self.locked():
            tree = self.tree("kernel", self.kernel_packages)
        image = next((tree / "root/boot").glob("vmlinuz-*"))
        return Kernel(image.name.removeprefix("vmlinuz-"), tree / "root", listed(tree))

    def kernel_packages(self) -> list[Download]:
        kernels = (f"linux-image-{self.architecture}", GENERIC_KERNEL)
        for name in kernels:
            images = self.apt.depends(name, r"linux-image-\S+")
            if images:
                break
        else:
            raise Problem(f"the sources of packages know none of {', '.join(kernels)} for {self.architecture}")
        version = re.escape(images[0].removeprefix("linux-image-"))
        more = self.apt.depends(images[0], rf"linux-modules-\S*{version}")
        more += self.apt.depends(name, rf"linux-modules-extra-\S*{version}")
        return self.apt.exact([images[0], *more])

    def sysroot(self, names: list[str]) -> Sysroot:
        """The named packages and all that they depend on, unpacked into one tree."""
        names = [*names, "libc6", "ca-certificates", "kmod", "zstd"]
        with self.locked():
            tree = self.tree(names[0], lambda: self.needed(names), names=names)
            return Sysroot(tree / "root", TRIPLES[self.architecture], listed(tree))

    def alone(self, name: str) -> Path:
        """One package, unpacked without what it depends on."""
        return self.apart(name, [name]).root

    def apart(self, label: str, names: list[str]) -> Sysroot:
        """The named packages, unpacked into one tree without what they depend on."""
        with self.locked():
            tree = self.tree(label, lambda: self.apt.exact(names), names=names)
            return Sysroot(tree / "root", TRIPLES[self.architecture], listed(tree))

    def files(self, downloads: list[Download]) -> list[Path]:
        """Package files, fetched if they are not here."""
        with self.locked():
            if not all(self.apt.has(download) for download in downloads):
                self.apt.refresh()
                self.apt.fetch(downloads)
            return self.apt.verified(downloads)

    def programs(self, label: str, names: list[str]) -> Path:
        """A directory with `bin/`, whose executables start the programs of the named packages with their own
        libraries from anywhere, and `root/`, the unpacked packages."""
        with self.locked():
            return self.tree(label, lambda: self.needed([*names, "libc6"]), names, programs.write)

    def needed(self, names: list[str]) -> list[Download]:
        return [download for download in self.apt.closure(names)
                if download.package not in UNUSED or download.package in names]

    def tree(self, label: str, choose, names=(), finish=None) -> Path:
        """The directory with the packages that `choose()` lists; fetched and unpacked if it is not there, and then
        finished with the paths that the packages of these names hold."""
        if self.lock is not None:
            wanted = self.lock.packages(self.architecture, label, names_of(names), choose, self.apt)
            self.fetch_locked(label, wanted)
        else:
            wanted = self.newest(label, choose)
        tree = self.place(label, wanted)
        if tree.is_dir():
            os.utime(tree)
            return tree
        draft = tree.with_name(tree.name + ".new")
        remove(draft)
        (draft / "root").mkdir(parents=True)
        self.say(f"unpacking {len(wanted)} packages for {label}")
        files = self.apt.verified(wanted)
        unpack(files, draft / "root")
        (draft / LISTED).write_text(json.dumps([asdict(download) for download in wanted], indent=1))
        if finish:
            named = [path for download, path in zip(wanted, files, strict=True) if download.package in names]
            finish(draft / "root", draft / "bin", tree, contents(named))
        draft.rename(tree)
        self.remove_older(label, tree)
        return tree

    def newest(self, label: str, choose) -> list[Download]:
        """What `choose()` lists, with lists of packages that are not too old; downloaded unless its tree is there."""
        began = time.time()
        self.apt.refresh()
        try:
            return self.fetched(label, choose)
        except Problem:
            if self.apt.read_stamp().get("renewed", 0) >= began:
                raise
            # The archive may have newer versions by now, and the old ones no more.
            self.apt.refresh(force=True)
            return self.fetched(label, choose)

    def fetch_locked(self, label: str, wanted: list[Download]) -> None:
        """Downloads packages of the lock unless their tree is there."""
        if self.place(label, wanted).is_dir() or all(self.apt.has(download) for download in wanted):
            return
        began = time.time()
        self.apt.refresh()
        try:
            self.fetch_again(wanted, began)
        except Problem as problem:
            gone = GONE.findall(str(problem))
            if not gone:
                raise
            raise Problem(f"the archive no longer has what {self.lock} has locked ({'; '.join(gone)}): `make update` locks what it "
                          "has now, or PACKAGE_DOWNLOADS names a directory with the package files") from problem

    def fetch_again(self, wanted: list[Download], began: float) -> None:
        """Downloads packages, with new lists if the archive has moved on since the lists of before were made."""
        try:
            self.apt.fetch(wanted)
        except Problem as problem:
            if not GONE.search(str(problem)) or self.apt.read_stamp().get("renewed", 0) >= began:
                raise
            self.apt.refresh(force=True)
            self.apt.fetch(wanted)

    def fetched(self, label: str, choose) -> list[Download]:
        """What `choose()` lists; downloaded unless its tree is there."""
        wanted = choose()
        if not self.place(label, wanted).is_dir():
            self.apt.fetch(wanted)
        return wanted

    def place(self, label: str, wanted: list[Download]) -> Path:
        # The path is part of it, because what starts a program names its libraries in full.
        known = [str(self.unpacked), *(f"{download.file} {download.sha256}" for download in wanted)]
        sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
        digest = hashlib.sha256("\n".join(known).encode() + b"".join(sources))
        return self.unpacked / f"{label}-{digest.hexdigest()[:16]}"

    def remove_older(self, label: str, tree: Path) -> None:
        """Removes trees of the same label that have not been used for days."""
        for other in self.unpacked.glob(f"{label}-????????????????"):
            if other != tree and time.time() - other.stat().st_mtime > KEPT_UNUSED:
                remove(other)

    @contextlib.contextmanager
    def locked(self):
        """One process at a time; the lock ends with the process, however that ends."""
        with open(self.directory / "lock", "a", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"waiting for another process that uses {self.directory}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def listed(tree: Path) -> list[Download]:
    """The packages in an unpacked tree."""
    return [Download(**each) for each in json.loads((tree / LISTED).read_text())]


def unpack(files: list[Path], root: Path) -> None:
    """Unpacks package files into one tree, which has the usual links at its top afterwards."""

    def one(path: Path) -> None:
        done = subprocess.run(["dpkg-deb", "-x", str(path), str(root)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Problem(f"{path.name} cannot be unpacked: {done.stderr.strip()}")

    # A package whose directories are links is first, if there is one; then order does not matter.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, files))
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists() and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")


def contents(files: list[Path]) -> set[str]:
    """The paths in package files, without a slash before them."""
    found: set[str] = set()
    for path in files:
        archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found.update(name.removeprefix("./") for name in tar.getnames())
    return found


def remove(tree: Path) -> None:
    """Removes a tree, directories without write permission included."""
    for directory, _, _ in os.walk(tree):
        os.chmod(directory, 0o755)
    shutil.rmtree(tree, ignore_errors=True)
