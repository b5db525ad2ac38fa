"""Errors, digests, archives that say nothing of who made them, and programs that have to succeed."""

import errno
import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


class ReleaseError(Exception):
    """What cannot be released, and what to do about it."""


@dataclass(frozen=True)
class Entry:
    """A file in an archive; with `link`, a symbolic link; with a slash at the end of its name, a directory."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    link: str = ""
    owner: int = 0


def tar(entries: Iterable[Entry], epoch: int, prefix: str = "") -> bytes:
    """The files and the directories that they are in, sorted, with one time."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        seen: set[str] = set()
        for entry in sorted(entries, key=lambda entry: entry.name):
            parents = [f"{parent}/" for parent in reversed(Path(entry.name).parents) if str(parent) != "."]
            for each in [*(Entry(parent, mode=0o755) for parent in parents), entry]:
                if each.name not in seen:
                    seen.add(each.name)
                    archive.addfile(member(each, epoch, prefix), io.BytesIO(each.content))
    return made.getvalue()


def member(entry: Entry, epoch: int, prefix: str) -> tarfile.TarInfo:
    """What the archive says of an entry."""
    info = tarfile.TarInfo(prefix + entry.name.rstrip("/"))
    info.mtime, info.mode, info.size, info.linkname = epoch, entry.mode, len(entry.content), entry.link
    info.uid = info.gid = entry.owner
    if entry.owner == 0:
        info.uname = info.gname = "root"
    if entry.link:
        info.type, info.mode = tarfile.SYMTYPE, 0o777
    elif entry.name.endswith("/"):
        info.type = tarfile.DIRTYPE
    return info


def packed(content: bytes) -> bytes:
    """As gzip, without name and time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run(words: Iterable[str | Path], environment: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
    """Standard output of a program that has to succeed."""
    argv = [str(word) for word in words]
    try:
        done = subprocess.run(argv, input=data, capture_output=True, check=False, env=environment)
    except OSError as error:
        raise ReleaseError(f"{argv[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, said)
        raise ReleaseError(f"{Path(argv[0]).name} ended with status {done.returncode}: {said}")
    return done.stdout
