"""Debian packages, written without the programs that need root or a Debian of some age."""

import hashlib
import lzma
from dataclasses import dataclass, field

from .files import Entry, tar


@dataclass
class Package:
    """A binary package."""

    name: str
    version: str
    architecture: str
    summary: str
    description: str
    entries: list[Entry]
    fields: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)  # files below /etc that an upgrade leaves alone

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version}_{self.architecture}.deb"

    def build(self, epoch: int) -> bytes:
        data = tar(self.entries, epoch, "./")
        control = [Entry("control", self.control().encode()), Entry("md5sums", self.sums().encode())]
        control += [Entry(name, text.encode(), 0o755) for name, text in self.scripts.items()]
        if self.settings:
            control.append(Entry("conffiles", "".join(f"/{name}\n" for name in self.settings).encode()))
        return archive({"debian-binary": b"2.0\n", "control.tar.xz": compress(tar(control, epoch, "./")), "data.tar.xz": compress(data)}, epoch)

    def control(self) -> str:
        size = sum(-(-len(entry.content) // 1024) for entry in self.entries)
        fields = {
            "Package": self.name, "Version": self.version, "Architecture": self.architecture,
            "Maintainer": "The ironic-agent project <ironic-agent@invalid>", "Installed-Size": str(size), **self.fields,
            "Section": "admin", "Priority": "optional",
        }
        lines = [f"{name}: {value}" for name, value in fields.items()]
        return "\n".join([*lines, f"Description: {self.summary}", *(f" {line or '.'}" for line in self.description.splitlines())]) + "\n"

    def sums(self) -> str:
        return "".join(f"{hashlib.md5(entry.content, usedforsecurity=False).hexdigest()}  {entry.name}\n"
                       for entry in sorted(self.entries, key=lambda entry: entry.name) if not entry.link and not entry.name.endswith("/"))


def compress(content: bytes) -> bytes:
    return lzma.compress(content, check=lzma.CHECK_CRC64, preset=6)


def archive(members: dict[str, bytes], epoch: int) -> bytes:
    """The format of `ar`."""
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += f"{name:<16}{epoch:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return packed
