"""What is linked into every program besides crates: the C library, and the parts of the C compiler that go with it."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from debian import Download, Problem

from .files import sha256

# Beside the programs: what was linked into them.
LINKED = "linked.json"
# For the linker.
LIBRARIES = ("libc.a", "libgcc.a", "libgcc_eh.a")


@dataclass(frozen=True)
class Library:
    """A static library, and the package that has it."""

    file: str
    sha256: str
    package: str
    version: str
    architecture: str


def of_compiler(compiler: Sequence[str | Path], packages: Sequence[Download] = ()) -> list[Library]:
    """The libraries that a C compiler links. Their packages are among `packages`, or else installed here."""
    found = []
    for file in LIBRARIES:
        path = Path(output([*compiler, f"-print-file-name={file}"]))
        if not path.is_absolute():
            raise Problem(f"the C compiler has no {file}, without which no static program can be linked")
        owner = owner_among(packages, file) if packages else installed_owner(path.resolve())
        found.append(Library(file, sha256(path.read_bytes()), *owner))
    return found


def owner_among(packages: Sequence[Download], file: str) -> tuple[str, str, str]:
    """Name, version and architecture of the package that has a library of a cross compiler."""
    pattern = r"libc6-dev-\w+-cross" if file == "libc.a" else r"libgcc-\d+-dev-\w+-cross"
    owners = [each for each in packages if re.fullmatch(pattern, each.package)]
    if len(owners) != 1:
        raise Problem(f"the package that has {file} is not among those of the cross compiler")
    _, version, architecture = owners[0].file.removesuffix(".deb").split("_", 2)
    return owners[0].package, unquote(version), architecture


def installed_owner(path: Path) -> tuple[str, str, str]:
    """Name, version and architecture of the package that has a file."""
    # The package may have it below /lib, which is a link now.
    for name in (path, Path("/", *path.parts[2:]) if path.parts[1] == "usr" else path):
        done = subprocess.run(["dpkg-query", "--search", str(name)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            package = done.stdout.partition(": ")[0]
            words = output(["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}", package])
            package, version, architecture = words.split()
            return package, version, architecture
    raise Problem(f"no installed package has {path}, which is linked into the programs: the list of what is in them needs its version")


def write(directory: Path, libraries: list[Library]) -> None:
    (directory / LINKED).write_text(json.dumps([asdict(library) for library in libraries], indent=1) + "\n")


def read(directory: Path) -> list[Library]:
    """What release/compile has written beside the programs; what this machine's compiler links, if they were built otherwise."""
    try:
        return [Library(**each) for each in json.loads((directory / LINKED).read_text())]
    except FileNotFoundError:
        return of_compiler(["cc"])


def output(argv: Sequence[str | Path]) -> str:
    """What a program says that has to succeed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Problem(f"there is no {argv[0]}; `make preflight` names what this needs") from error
    if done.returncode != 0:
        raise Problem(f"`{' '.join(map(str, argv))}` ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()
