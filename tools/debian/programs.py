"""Executables that start the programs of an unpacked tree with the tree's own libraries.

Each is a short script, so that it can be found on PATH and started like the program itself. It has the full paths of
loader and libraries; nothing of it is inherited by what the program starts.
"""

import shlex
from pathlib import Path

from .sysroot import TRIPLE, Sysroot

PLACES = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/lib/udev", "lib/udev")
# Programs that look for their data at fixed places: the environment and the arguments that lead them into the tree.
DATA = {
    "qemu-": ({"QEMU_MODULE_DIR": f"usr/lib/{TRIPLE}/qemu"}, []),
    "qemu-system-": ({"QEMU_MODULE_DIR": f"usr/lib/{TRIPLE}/qemu"},
                     ["-L", "usr/share/qemu", "-L", "usr/share/seabios", "-L", "usr/lib/ipxe/qemu"]),
    "mke2fs": ({"MKE2FS_CONFIG": "etc/mke2fs.conf"}, []),
    "mkfs.ext": ({"MKE2FS_CONFIG": "etc/mke2fs.conf"}, []),
}


def write(root: Path, target: Path, final: Path, contents: set[str]) -> None:
    """Fills `target` with starters of the programs below `root`, which will be `final/root` in the end: of those
    whose paths are among `contents`, so that nothing else of a closure shadows the host's programs."""
    target.mkdir()
    sysroot = Sysroot(root)
    for place in PLACES:
        for source in sorted((root / place).glob("*")):
            starter = target / source.name
            if f"{place}/{source.name}" not in contents:
                continue
            found = sysroot.resolve(source)
            if starter.exists() or not found.is_file() or not found.stat().st_mode & 0o111:
                continue
            text = script(sysroot, source.name, found, root, final / "root")
            starter.write_text(text)
            starter.chmod(0o755)


def script(sysroot: Sysroot, name: str, program: Path, here: Path, final: Path) -> str:
    """The starter of one program."""

    def moved(path) -> str:
        """A path below the tree, where the tree will be."""
        return shlex.quote(str(path).replace(str(here), str(final)))

    environment, arguments = data_of(name)
    lines = ["#!/bin/sh"]
    lines += [f"export {key}={shlex.quote(str(final / value))}" for key, value in environment.items()]
    words = [word if word.startswith("-") else shlex.quote(str(final / word)) for word in arguments]
    head = program.open("rb").read(256)
    libraries = f"--library-path {moved(sysroot.search)}"
    if head.startswith(b"\x7fELF"):
        start = [moved(sysroot.loader), "--argv0", shlex.quote(name), libraries, moved(program)]
        if is_static(program):
            start = [moved(program)]
    else:
        start = [*interpreter(head, sysroot, moved), moved(program)]
    lines.append(" ".join(["exec", *start, *words, '"$@"']))
    return "\n".join(lines) + "\n"


def data_of(name: str) -> tuple[dict, list]:
    matching = [prefix for prefix in DATA if name.startswith(prefix)]
    return DATA[max(matching, key=len)] if matching else ({}, [])


def is_static(program: Path) -> bool:
    """Whether a program names no loader (PT_INTERP)."""
    with open(program, "rb") as file:
        data = file.read(4096)
    start, size = int.from_bytes(data[32:40], "little"), int.from_bytes(data[54:56], "little")
    count = int.from_bytes(data[56:58], "little")
    return all(data[start + size * number:][:4] != b"\3\0\0\0" for number in range(count))


def interpreter(head: bytes, sysroot: Sysroot, moved) -> list[str]:
    """What runs a script: the tree's Perl for Perl, else the host's program."""
    line = head.partition(b"\n")[0].decode(errors="replace")
    words = line.removeprefix("#!").split() if line.startswith("#!") else ["/bin/sh"]
    if words[0].endswith("/env"):
        words = words[1:]
    kind = words[0].rpartition("/")[2]
    if kind == "perl" and (sysroot.root / "usr/bin/perl").is_file():
        patterns = (f"usr/lib/{TRIPLE}/perl*/5*", f"usr/lib/{TRIPLE}/perl-base", "usr/share/perl/5*", "usr/share/perl5")
        places = [path for pattern in patterns for path in sysroot.root.glob(pattern)]
        start = [moved(sysroot.loader), "--library-path", moved(sysroot.search), moved(sysroot.root / "usr/bin/perl")]
        return [*start, *(f"-I {moved(place)}" for place in dict.fromkeys(places)), *words[1:]]
    if kind.startswith("python3"):
        return ["env", f"PYTHONPATH={moved(sysroot.root / 'usr/lib/python3/dist-packages')}", "python3"]
    return [words[0], *words[1:]]
