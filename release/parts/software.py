"""The programs outside of the ramdisk: archives of binaries, Debian packages, the container of the gateway."""

from dataclasses import dataclass

from debian import ARCHITECTURES

from . import oci, sbom
from .deb import Package
from .files import Entry, packed, tar
from .inputs import PROGRAMS, REPOSITORY, Inputs

GATEWAY = REPOSITORY / "release/gateway"
# Where shells look for what completes a program's options: the file of docs/completions, and its place.
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/{}", "fish": "usr/share/fish/vendor_completions.d/{}.fish",
    "zsh": "usr/share/zsh/vendor-completions/_{}",
}
# The user of the container; nobody that a host has.
USER = 65532
STATE = "var/lib/ironic-gateway"


@dataclass(frozen=True)
class Artefact:
    """A file of the release, and what is in it."""

    name: str
    content: bytes
    parts: sbom.Parts


def all_of(inputs: Inputs, arch: str) -> dict[str, bytes]:
    return {name: inputs.program(arch, name) for name in PROGRAMS}


def binaries(inputs: Inputs, arch: str) -> Artefact:
    """The programs with man pages, completions and licence."""
    name, parts = f"ironic-agent-{inputs.version}-{arch}", sbom.Parts()
    entries = [Entry(f"{name}/LICENSE", (REPOSITORY / "LICENSE").read_bytes())]
    for program, content in all_of(inputs, arch).items():
        entries.append(Entry(f"{name}/bin/{program}", content, 0o755))
        entries += [Entry(f"{name}/share/{entry.name.partition('share/')[2]}", entry.content) for entry in documents(program)]
        parts.update(sbom.program(inputs, arch, program, content, f"{name}/bin/{program}"))
    return Artefact(f"{name}.tar.gz", packed(tar(entries, inputs.epoch)), parts)


def documents(program: str) -> list[Entry]:
    """Man pages and completions of a program, where a system has them."""
    pages = [path for path in sorted((REPOSITORY / "docs/man").glob(f"{program}*.?")) if path.stem == program or
             path.name.startswith(f"{program}-")]
    found = [Entry(f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz", packed(page.read_bytes())) for page in pages]
    for shell, place in COMPLETIONS.items():
        if (path := REPOSITORY / f"docs/completions/{program}.{shell}").is_file():
            found.append(Entry(place.format(program), path.read_bytes()))
    return found


def packages(inputs: Inputs, arch: str) -> list[Artefact]:
    """The Debian packages."""
    agentctl = package(inputs, arch, "ironic-agentctl", "agentctl", inputs.program(arch, "agentctl"), "command line of ironic-agent's fleet",
                       "Lists the nodes of a gateway and runs commands on them, for people and for scripts.")
    return [gateway_package(inputs, arch), agentctl]


def gateway_package(inputs: Inputs, arch: str) -> Artefact:
    content = inputs.program(arch, "ironic-shim")
    more = [
        Entry("usr/lib/systemd/system/ironic-gateway.service", (GATEWAY / "ironic-gateway.service").read_bytes()),
        Entry("usr/lib/sysusers.d/ironic-gateway.conf", (GATEWAY / "ironic-gateway.sysusers").read_bytes()),
        Entry("usr/share/doc/ironic-shim/examples/gateway.conf", (GATEWAY / "gateway.conf.example").read_bytes()),
        Entry("etc/ironic-gateway/", mode=0o755),
    ]
    scripts = {name: (GATEWAY / name).read_text() for name in ("postinst", "prerm")}
    return package(inputs, arch, "ironic-shim", "ironic-shim", content, "gateway between OpenStack Ironic and its deploy agents",
                   "Stands between an unmodified Ironic and the agents of many nodes, none of which needs an open port.\n"
                   "The service ironic-gateway starts when there is a file /etc/ironic-gateway/*.conf.", more, scripts)


def package(inputs: Inputs, arch: str, name: str, program: str, content: bytes, summary: str, description: str,
            more=(), scripts=None) -> Artefact:
    path = f"usr/bin/{program}"
    entries = [
        Entry(path, content, 0o755), *documents(program), *more,
        Entry(f"usr/share/doc/{name}/copyright", (REPOSITORY / "LICENSE").read_bytes()),
        Entry(f"usr/share/doc/{name}/changelog.gz", packed((REPOSITORY / "CHANGELOG.md").read_bytes())),
    ]
    # A dash would begin a revision of Debian's, and a candidate comes before its release.
    made = Package(name, inputs.version.replace("-", "~"), ARCHITECTURES[arch], summary, description, entries,
                   {"Recommends": "ca-certificates"}, scripts or {})
    return Artefact(made.file, made.build(inputs.epoch), sbom.program(inputs, arch, program, content, path))


def container(inputs: Inputs) -> Artefact:
    """The gateway as a container image for every architecture of the release."""
    parts, layers = sbom.Parts(), {}
    authorities = inputs.authorities()
    bundle = inputs.scratch / "ca-certificates.crt"
    authorities.certificates(bundle)
    sbom.add_packages(parts, authorities.packages, sbom.BUNDLE)
    for arch in inputs.binaries:
        content = inputs.program(arch, "ironic-shim")
        layers[ARCHITECTURES[arch]] = [
            Entry("usr/bin/ironic-shim", content, 0o755), Entry(sbom.BUNDLE, bundle.read_bytes()),
            Entry("etc/passwd", f"ironic-gateway:x:{USER}:{USER}::/{STATE}:/nonexistent\n".encode()),
            Entry("etc/group", f"ironic-gateway:x:{USER}:\n".encode()),
            Entry("etc/ironic-gateway/", mode=0o755), Entry(f"{STATE}/", mode=0o700, owner=USER), Entry("tmp/", mode=0o1777),
        ]
        parts.update(sbom.program(inputs, arch, "ironic-shim", content, "usr/bin/ironic-shim"))
    settings = {
        "User": f"{USER}:{USER}", "Env": ["PATH=/usr/bin"], "StopSignal": "SIGTERM", "ExposedPorts": {"9998/tcp": {}, "9999/tcp": {}},
        "Entrypoint": ["/usr/bin/ironic-shim"], "Cmd": ["--config-dir", "/etc/ironic-gateway", "--state_dir", f"/{STATE}"],
        "Volumes": {f"/{STATE}": {}},
        "Labels": {"org.opencontainers.image.title": "ironic-gateway", "org.opencontainers.image.version": inputs.version,
                   "org.opencontainers.image.licenses": "Apache-2.0"},
    }
    layout = oci.container(layers, settings, inputs.version, inputs.epoch, inputs.date)
    return Artefact(f"ironic-gateway-{inputs.version}.oci.tar", layout.archive(inputs.epoch), parts)
