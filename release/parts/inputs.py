"""What a release is made of: version, date, programs, ramdisk, and Debian packages in the versions of the lock."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from debian import ARCHITECTURES, TRIPLES, Download, Lock, Packages, Sysroot
from debian.programs import is_static

from . import c_library
from .c_library import Library
from .files import ReleaseError

REPOSITORY = Path(__file__).resolve().parents[2]
# Programs that run here.
TOOLS = ["xorriso", "mtools", "dosfstools", "grub-common", "grub-pc-bin", "sbsigntool", "openssl", "zstd"]
# What UEFI starts, and the stub of the unified kernel image, by Debian's architecture.
LOADERS = {
    "amd64": ["shim-signed", "shim-helpers-amd64-signed", "grub-efi-amd64-signed", "systemd-boot-efi"],
    "arm64": ["shim-signed", "shim-helpers-arm64-signed", "grub-efi-arm64-signed", "systemd-boot-efi"],
}
PROGRAMS = ("ironic-agent", "ironic-shim", "agentctl")
# The oldest time that a FAT file system knows.
OLDEST = 315532800


@dataclass(frozen=True)
class Ramdisk:
    """What ramdisk/build has made."""

    kernel: bytes
    initramfs: bytes
    packages: list[Download]

    @classmethod
    def read(cls, directory: Path, arch: str) -> "Ramdisk":
        try:
            packages = [Download(**each) for each in json.loads((directory / "packages.json").read_text())]
            return cls((directory / "kernel").read_bytes(), (directory / "initramfs").read_bytes(), packages)
        except (OSError, ValueError, TypeError) as error:
            raise ReleaseError(f"there is no ramdisk for {arch} in {directory} (`make ramdisk ARCH={arch}`): {error}") from error


@dataclass
class Inputs:
    """All of it."""

    binaries: dict[str, Path]  # by architecture: the directory
    ramdisks: dict[str, Ramdisk]
    lock: Lock
    scratch: Path
    parameters: str = ""  # of the kernel, on the ISO and in the unified kernel image
    version: str = field(default_factory=lambda: version())
    epoch: int = field(default_factory=lambda: epoch())

    @property
    def date(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.epoch))

    def packages(self, arch: str) -> Packages:
        return Packages(architecture=ARCHITECTURES[arch], lock=self.lock)

    @cached_property
    def programs(self) -> Path:
        return self.packages("x86_64").programs("release", TOOLS)

    @property
    def tools(self) -> Path:
        """The directory of programs that run here."""
        return self.programs / "bin"

    @property
    def bios(self) -> Path:
        """The directory of GRUB's parts for a BIOS."""
        return self.programs / "root/usr/lib/grub/i386-pc"

    def loaders(self, arch: str) -> Sysroot:
        return self.packages(arch).apart("loaders", LOADERS[ARCHITECTURES[arch]])

    def authorities(self) -> Sysroot:
        """The certificates of public authorities."""
        return self.packages("x86_64").apart("authorities", ["ca-certificates"])

    def program(self, arch: str, name: str) -> bytes:
        """A program for an architecture."""
        path = self.binaries[arch] / name
        if not path.is_file():
            raise ReleaseError(f"there is no program {path}: `release/compile {arch}` makes it")
        content = path.read_bytes()
        if content[:4] != b"\x7fELF" or int.from_bytes(content[18:20], "little") != TRIPLES[ARCHITECTURES[arch]].number:
            raise ReleaseError(f"{path} is no program for {arch}")
        if not is_static(path):
            raise ReleaseError(f"{path} is linked dynamically: `release/compile {arch}` makes a static one")
        return content

    def libraries(self, arch: str) -> list[Library]:
        """What is linked into the programs for an architecture besides crates."""
        return c_library.read(self.binaries[arch])

    def environment(self) -> dict[str, str]:
        """Of programs whose results must not depend on who starts them."""
        return {"PATH": f"{self.tools}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "SOURCE_DATE_EPOCH": str(self.epoch),
                "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null", "HOME": str(self.scratch)}

    def lock_everything(self, archs) -> None:
        """Asks for every set of packages, which a lock that is renewed then holds."""
        self.packages("x86_64").programs("release", TOOLS)
        self.authorities()
        for arch in archs:
            self.loaders(arch)


def version() -> str:
    """The one that Cargo.toml gives all programs."""
    found = re.search(r'^\[workspace\.package\]\nversion = "([^"]+)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)
    if not found:
        raise ReleaseError("Cargo.toml has no version below [workspace.package]")
    return found[1]


def epoch() -> int:
    """The time that everything in the release has: SOURCE_DATE_EPOCH, or that of the commit."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        text = done.stdout.strip()
        if done.returncode != 0:
            raise ReleaseError("this is no checkout of git, so SOURCE_DATE_EPOCH must give the time of the release (seconds since 1970)")
    if not text.isdigit() or int(text) < OLDEST:
        raise ReleaseError(f"SOURCE_DATE_EPOCH: {text!r} is no number of seconds since 1970 that is in 1980 or later")
    return int(text)
