"""The cpio archive that the kernel unpacks."""

import io
import lzma
import stat
import subprocess
import zlib
from pathlib import Path

from debian import Problem

# Level and window of zstd. A window of 16 MiB costs the kernel that much memory while it unpacks, and what is half a
# window apart no bytes; higher levels take twice the time for a few kB.
ZSTD = ("-19", "--zstd=wlog=24", "--quiet", "--stdout")


class Archive:
    """Writes the "newc with checksums" format, so that the kernel itself compares the sum of
    every file's bytes as it unpacks; owner root, no times, sorted: the same input gives the
    same archive. What has to survive a truncation goes first, the proof of completeness last.
    """

    def __init__(self, first=(), last=()):
        self.first, self.last = first, last

    def pack(self, tree):
        """All in one archive."""
        head, rest = self.names(tree)
        return self.write(tree, [*head, *rest])

    def pack_apart(self, tree):
        """What goes first, and the rest, as two archives: the kernel unpacks one after the other."""
        return tuple(self.write(tree, names) for names in self.names(tree))

    def names(self, tree):
        names = {str(path.relative_to(tree)) for path in tree.rglob("*")}
        early = []
        for name in self.first:
            early += [str(parent) for parent in reversed(Path(name).parents) if str(parent) != "."]
            early.append(name)
        early = list(dict.fromkeys(early))
        return early, [*sorted(names - set(early) - set(self.last)), *self.last]

    def write(self, tree, names):
        out = io.BytesIO()
        for number, name in enumerate(names, 1):
            self.entry(out, number, name, tree / name)
        self.header(out, 0, 0, 0, "TRAILER!!!", b"")
        return out.getvalue()

    def entry(self, out, number, name, path):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            self.header(out, number, stat.S_IFLNK | 0o777, 1, name, str(path.readlink()).encode())
        elif stat.S_ISDIR(mode):
            self.header(out, number, stat.S_IFDIR | (0o1777 if name == "tmp" else 0o755), 2, name, b"")
        else:
            executable = 0o755 if mode & 0o100 else 0o644
            self.header(out, number, stat.S_IFREG | executable, 1, name, path.read_bytes())

    @staticmethod
    def header(out, number, mode, links, name, content):
        # The kernel compares sums of regular files only.
        checksum = sum(content) & 0xFFFFFFFF if stat.S_ISREG(mode) else 0
        label = name.encode() + b"\0"
        fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(label), checksum)
        out.write(b"070702" + b"".join(b"%08X" % field for field in fields) + label)
        out.write(bytes(-out.tell() % 4))
        out.write(content)
        out.write(bytes(-out.tell() % 4))


def compress(data, method, arch="x86_64"):
    if method == "gzip":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        return packer.compress(data) + packer.flush()
    # What the kernel's decoder knows: CRC32, and the filter of its own architecture.
    filters: list[dict] = [{"id": lzma.FILTER_X86}] if arch == "x86_64" else []
    filters.append({"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 25})
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


def compress_apart(head, rest, zstd):
    """Two archives as one file that begins as a gzip file: Ironic's conductor unpacks what begins as zstd, and serves it
    unpacked. `zstd` is the words that start the program."""
    done = subprocess.run([*zstd, *ZSTD], input=rest, capture_output=True, check=False)
    if done.returncode != 0:
        raise Problem(f"zstd failed: {done.stderr.decode(errors='replace').strip()}")
    return compress(head, "gzip") + done.stdout
