"""CycloneDX documents: which crates, Debian packages and static libraries are in an artefact, read from the artefact itself, and of
the libraries from what release/compile wrote down.

A file of the initramfs whose origin is not known ends the release, and so does a crate that a program names and the list
does not have.
"""

import io
import json
import lzma
import re
import subprocess
import tarfile
import tomllib
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from debian import Download

from .c_library import Library
from .files import ReleaseError, run, sha256
from .inputs import REPOSITORY, Inputs

NAMESPACE = uuid.UUID("6f0d1c0e-6f4c-4d8e-9d83-0a8f3f2b7a11")
# What ramdisk/build writes, besides copying files of packages and of ramdisk/root.
GENERATED = re.compile(r"etc/(manifest|manifest\.sha256|complete|firmware\.list|ramdisk\.ssh)|lib/modules/[^/]+/modules\.\w+")
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
# A crate's source, which a program names where it may panic.
CRATE = re.compile(rb"/(?:crates|registry/src/[^/\0]+)/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)/")
PACKAGES = {"ironic-agent": "ironic-agent", "ironic-shim": "ironic-shim", "agentctl": "ironic-agentctl"}

Component = dict


@dataclass
class Parts:
    """What is in an artefact: components by reference, and where in it they were found."""

    components: dict[str, Component] = field(default_factory=dict)
    places: dict[str, set[str]] = field(default_factory=dict)

    def add(self, component: Component, *places: str) -> None:
        self.components.setdefault(component["bom-ref"], component)
        self.places.setdefault(component["bom-ref"], set()).update(places)

    def update(self, other: "Parts") -> None:
        for reference, component in other.components.items():
            self.add(component, *other.places[reference])

    def document(self, inputs: Inputs, name: str, digest: str) -> bytes:
        """The document about an artefact with this digest."""
        components = []
        for reference, component in sorted(self.components.items()):
            places = [{"location": place} for place in sorted(self.places[reference])]
            components.append({**component, **({"evidence": {"occurrences": places}} if places else {})})
        subject = {"type": "application", "bom-ref": name, "name": name, "version": inputs.version,
                   "hashes": [{"alg": "SHA-256", "content": digest}]}
        return json.dumps({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
            "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{name} {digest}')}",
            "metadata": {"timestamp": inputs.date, "component": subject},
            "components": components,
            "dependencies": [{"ref": name, "dependsOn": sorted(self.components)}],
        }, indent=1).encode() + b"\n"


# Debian packages -------------------------------------------------------------------------------


def debian_component(download: Download) -> Component:
    name, version, architecture = download.file.removesuffix(".deb").split("_", 2)
    reference = f"pkg:deb/debian/{quote(name)}@{quote(unquote(version), safe='')}?arch={architecture}"
    return {"type": "library", "bom-ref": reference, "purl": reference, "name": name, "version": unquote(version),
            "hashes": [{"alg": "SHA-256", "content": download.sha256}]}


def add_packages(parts: Parts, downloads: list[Download], *places: str) -> Parts:
    for download in downloads:
        parts.add(debian_component(download), *places)
    return parts


def contents(inputs: Inputs, arch: str, downloads: list[Download]) -> dict[str, list[tuple[Download, str]]]:
    """Which packages hold a file, and where, by the SHA-256 of the file; kernel modules also as they are unpacked."""
    found: dict[str, list[tuple[Download, str]]] = {}
    for download, path in zip(downloads, inputs.packages(arch).files(downloads), strict=True):
        with tarfile.open(fileobj=io.BytesIO(run(["dpkg-deb", "--fsys-tarfile", path]))) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    content = file.read()
                    for variant in (content, lzma.decompress(content)) if member.name.endswith(".ko.xz") else (content,):
                        found.setdefault(sha256(variant), []).append((download, member.name.removeprefix("./")))
    return found


# The ramdisk -----------------------------------------------------------------------------------


def unpack(initramfs: bytes, zstd: Path) -> Iterator[tuple[str, bytes]]:
    """The regular files of an initramfs: archives one after the other, each packed by gzip or zstd."""
    first = zlib.decompressobj(31)
    archives = [first.decompress(initramfs) + first.flush()]
    if rest := first.unused_data:
        archives.append(run([zstd, "-dc"], data=rest))
    for archive in archives:
        place = 0
        while archive[place:place + 6] == b"070702":
            fields = [int(archive[place + 6 + 8 * number:place + 14 + 8 * number], 16) for number in range(13)]
            start = place + 110
            name = archive[start:start + fields[11] - 1].decode()
            start += fields[11] + -(110 + fields[11]) % 4
            content = archive[start:start + fields[6]]
            place = start + fields[6] + -fields[6] % 4
            if name == "TRAILER!!!":
                break
            if fields[1] & 0o170000 == 0o100000:
                yield name, content


def ramdisk(inputs: Inputs, arch: str) -> Parts:
    """What is in kernel and initramfs."""
    made = inputs.ramdisks[arch]
    known = contents(inputs, arch, made.packages)
    own = {str(path.relative_to(REPOSITORY / "ramdisk/root")): path.read_bytes()
           for path in (REPOSITORY / "ramdisk/root").rglob("*") if path.is_file()}
    parts, strange = Parts(), []
    for name, content in unpack(made.initramfs, inputs.tools / "zstd"):
        own_program = name.removeprefix("bin/")
        origins = known.get(sha256(lzma.decompress(content) if name.endswith(".ko.xz") else content), [])
        if name == BUNDLE:
            add_packages(parts, [each for each in made.packages if each.package == "ca-certificates"], name)
        elif own_program in PACKAGES:
            if content != inputs.program(arch, own_program):
                raise ReleaseError(f"the ramdisk for {arch} holds another {own_program} than {inputs.binaries[arch]}: build it again")
            parts.update(program(inputs, arch, own_program, content, name))
        elif own.get(name) == content or GENERATED.fullmatch(name):
            continue
        elif origins:
            parts.add(debian_component(best(origins, name)), name)
        else:
            strange.append(name)
    if strange:
        raise ReleaseError(f"no package of {arch} holds these files of the ramdisk: {', '.join(strange[:5])}; the ramdisk was built of others")
    if not (kernel := known.get(sha256(made.kernel))):
        raise ReleaseError(f"no package of {arch} holds the kernel of the ramdisk")
    parts.add(debian_component(kernel[0][0]), "kernel")
    return parts


def best(origins: list[tuple[Download, str]], name: str) -> Download:
    """Of several packages with the same file the one that has it under this name."""
    def likeness(origin: tuple[Download, str]) -> bool:
        return origin[1].removeprefix("usr/") == name.removeprefix("usr/").removesuffix(".xz")
    return max(origins, key=likeness)[0]


# Programs --------------------------------------------------------------------------------------


def program(inputs: Inputs, arch: str, name: str, content: bytes, place: str) -> Parts:
    """What is in a program: crates, the standard library, and the C library."""
    parts = crates(arch, name, content, place)
    for library in inputs.libraries(arch):
        parts.add(library_component(library), place)
    return parts


def library_component(library: Library) -> Component:
    """A static library, by the package that has it. The digest is that of the library."""
    reference = f"pkg:deb/debian/{quote(library.package)}@{quote(library.version, safe='')}?arch={library.architecture}#{library.file}"
    return {"type": "library", "bom-ref": reference, "purl": reference, "name": library.package, "version": library.version,
            "hashes": [{"alg": "SHA-256", "content": library.sha256}]}


def crates(arch: str, program: str, content: bytes, place: str) -> Parts:
    """The crates in a program, and its compiler's standard library."""
    parts = Parts()
    listed = dependencies(arch, PACKAGES[program])
    named = {(name.decode(), version.decode()) for name, version in CRATE.findall(content)}
    if missing := sorted(named - listed):
        raise ReleaseError(f"{program} for {arch} holds crates that `cargo tree` does not list: "
                           f"{', '.join(' '.join(each) for each in missing)}; was it built of other sources?")
    sums = checksums()
    for name, version in listed:
        reference = f"pkg:cargo/{name}@{version}"
        digest = sums.get((name, version))
        parts.add({"type": "library", "bom-ref": reference, "purl": reference, "name": name, "version": version,
                   **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {})}, place)
    if compiler := re.search(rb"rustc version ([^ \0]+)", content):
        version = compiler[1].decode()
        parts.add({"type": "library", "bom-ref": f"rust-std@{version}", "name": "rust-std", "version": version}, place)
    return parts


def dependencies(arch: str, package: str) -> set[tuple[str, str]]:
    """Name and version of a package and of what is linked into it. Features are those of all programs together, as they are built."""
    done = subprocess.run(
        ["cargo", "tree", "--locked", "--offline", "--target", f"{arch}-unknown-linux-gnu", "--edges", "normal,no-proc-macro",
         "--prefix", "depth", "--format", " {p}"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"cargo tree: {done.stderr.strip()}")
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {}
    branch: list[tuple[str, str]] = []
    for line in done.stdout.splitlines():
        if found := re.match(r"(\d+) (\S+) v(\S+)", line):
            del branch[int(found[1]):]
            crate = (found[2], found[3])
            if branch:
                needs.setdefault(branch[-1], set()).add(crate)
            branch.append(crate)
            needs.setdefault(crate, set())
    waiting = [crate for crate in needs if crate[0] == package]
    if not waiting:
        raise ReleaseError(f"cargo tree does not list the package {package}")
    reached: set[tuple[str, str]] = set()
    while waiting:
        crate = waiting.pop()
        if crate not in reached:
            reached.add(crate)
            waiting += needs[crate]
    return reached


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of the archives of crates, from Cargo.lock."""
    locked = tomllib.loads((REPOSITORY / "Cargo.lock").read_text())
    return {(each["name"], each["version"]): each["checksum"] for each in locked["package"] if "checksum" in each}
