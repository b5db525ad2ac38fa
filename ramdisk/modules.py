"""Kernel modules: the chosen ones and those that they need."""

import lzma
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from debian import Problem

# What distributions compress modules with, and what unpacks that.
COMPRESSED = {".xz": None, ".zst": "/usr/bin/zstd", ".gz": "/bin/gzip"}


def select_modules(chosen, kernel, sysroot, tree, more=()):
    """Copies the modules of the list file `chosen`, and those of `more`, which has pairs of a word and where it stands, into
    `tree` and indexes them there; the firmware files that each of them may ask for."""
    index(sysroot, kernel.root, kernel.version)
    needs = read_dependencies(kernel.modules / "modules.dep")
    by_name = {name_of(path): path for path in needs}
    wanted = set()
    for word, place in [*words_of(chosen), *more]:
        matches = [by_name[name_of(word)]] if name_of(word) in by_name else below(needs, word)
        if not matches:
            raise Problem(f"{place}: kernel {kernel.version} has no module or directory {word}")
        for path in matches:
            wanted |= {path, *needs[path]}
    for wish in soft_wishes(kernel.modules, {name_of(path) for path in wanted}):
        for path in (by_name[name] for name in wish if name in by_name):
            wanted |= {path, *needs[path]}
    target = tree / "lib/modules" / kernel.version
    for path in sorted(wanted):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kernel.modules / path, target / path)
    needs = index_chosen(kernel, sysroot, tree, target)
    return pack(target, needs, sysroot)


def words_of(path):
    """The words of a list file, each with its place."""
    return [(word, f"{path}:{number}") for number, line in enumerate(path.read_text().splitlines(), 1)
            for word in line.partition("#")[0].split()]


def index_chosen(kernel, sysroot, tree, target):
    """Writes the index of the modules in `target`; what each of them needs."""
    for extra in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(kernel.modules / extra, target / extra)
    index(sysroot, tree, kernel.version)
    # Only busybox reads the index, and it reads the texts; depmod needed the rest.
    for unread in [*target.glob("*.bin"), target / "modules.builtin.modinfo", target / "modules.order",
                   target / "modules.devname", target / "modules.symbols"]:
        unread.unlink(missing_ok=True)
    return read_dependencies(target / "modules.dep")


def pack(target, needs, sysroot):
    """Compresses every module by itself: a machine loads two dozen of them, and only those take
    memory and time to unpack. The firmware files that each may ask for."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        firmware = list(pool.map(lambda path: pack_one(target / path, sysroot), needs))
    lines = (f"{packed(module)}:{''.join(f' {packed(other)}' for other in others)}\n"
             for module, others in needs.items())
    (target / "modules.dep").write_text("".join(lines))
    return {name_of(path): files for path, files in zip(needs, firmware, strict=True) if files}


def packed(name):
    """The name of a module in the ramdisk, however the distribution compresses its modules."""
    return name[:name.rindex(".ko")] + ".ko.xz"


def pack_one(path, sysroot):
    content = read_module(path, sysroot)
    path.unlink()
    # busybox knows this checksum and no filter.
    blob = lzma.compress(content, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)
    path.with_name(packed(path.name)).write_bytes(blob)
    return {file.decode() for file in re.findall(rb"\0firmware=([^\0]+)", content)}


def read_module(path, sysroot):
    """A module as the kernel takes it."""
    if path.suffix not in COMPRESSED:
        return path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    command = sysroot.command(COMPRESSED[path.suffix], "-dc", str(path))
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{path.name} cannot be unpacked: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def index(sysroot, root, version):
    # The last that it writes: it may have been interrupted.
    if not (root / "lib/modules" / version / "modules.devname").is_file():
        sysroot.run("/bin/kmod", "-b", str(root), version, name="depmod")


def read_dependencies(path):
    needs = {}
    for line in path.read_text().splitlines():
        module, _, rest = line.partition(":")
        needs[module] = rest.split()
    return needs


def soft_wishes(directory, names):
    """What modules ask for by another name when they run, such as a checksum that the kernel
    then finds by its alias: for every wish, the modules that answer to it."""
    answers: dict[str, list[str]] = {}
    for line in (directory / "modules.alias").read_text().splitlines():
        if line.startswith("alias crypto-"):
            _, alias, module = line.split()
            answers.setdefault(alias, []).append(name_of(module))
    for line in (directory / "modules.softdep").read_text().splitlines():
        words = line.split()
        if words[:1] == ["softdep"] and name_of(words[1]) in names:
            for word in words[2:]:
                yield answers.get(word, [name_of(word)])


def below(needs, directory):
    if not directory.endswith("/"):
        return []
    return [path for path in needs if path.startswith("kernel/" + directory)]


def name_of(path):
    return Path(path).name.split(".")[0].replace("-", "_")
