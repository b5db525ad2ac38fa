"""OCI layouts as archives, which skopeo, podman and ORAS read (`oci-archive:`)."""

import json
from dataclasses import dataclass, field

from debian import TRIPLES

from .files import Entry, packed, sha256, tar

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
# Of our own artefacts.
RAMDISK = "application/vnd.ironic-agent.ramdisk.v1"
KERNEL, INITRAMFS = "application/vnd.ironic-agent.kernel", "application/vnd.ironic-agent.initramfs"
TITLE = "org.opencontainers.image.title"
NAME = "org.opencontainers.image.ref.name"

Descriptor = dict


@dataclass
class Layout:
    """The blobs of a layout, and its tags."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: list[Descriptor] = field(default_factory=list)

    def add(self, content: bytes, media_type: str, **more) -> Descriptor:
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def document(self, media_type: str, **more) -> Descriptor:
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **more}, sort_keys=True, separators=(",", ":"))
        return self.add(content.encode(), media_type)

    def artefact(self, files: list[Descriptor], architecture: str) -> Descriptor:
        """A manifest of files, as `oras push` makes it."""
        made = self.document(MANIFEST, artifactType=RAMDISK, config=self.add(b"{}", EMPTY), layers=files)
        return {**made, "artifactType": RAMDISK, "platform": {"architecture": architecture, "os": "linux"}}

    def tag(self, descriptor: Descriptor, name: str) -> None:
        self.tags.append({**descriptor, "annotations": {NAME: name}})

    def archive(self, epoch: int) -> bytes:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.tags}
        entries = [Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), Entry("index.json", json.dumps(index, sort_keys=True).encode())]
        entries += [Entry(f"blobs/sha256/{digest}", content) for digest, content in self.blobs.items()]
        return tar(entries, epoch)


def ramdisk(parts: dict[str, tuple[str, bytes, bytes]], version: str) -> Layout:
    """Kernel and initramfs by Debian's name of the architecture: (name of the files, kernel, initramfs).

    Ironic takes a file by the digest of a manifest that has nothing else, hence one for each; ORAS takes both.
    """
    layout, both = Layout(), []
    for architecture, (name, kernel, initramfs) in parts.items():
        machine = TRIPLES[architecture].machine
        files = [layout.add(kernel, KERNEL, annotations={TITLE: f"{name}.kernel"}),
                 layout.add(initramfs, INITRAMFS, annotations={TITLE: f"{name}.initramfs"})]
        for file, part in zip(files, ("kernel", "initramfs"), strict=True):
            layout.tag(layout.artefact([file], architecture), f"{version}-{part}-{machine}")
        both.append(layout.artefact(files, architecture))
        layout.tag(both[-1], f"{version}-{machine}")
    layout.tag(layout.document(INDEX, artifactType=RAMDISK, manifests=both), version)
    return layout


def container(layers: dict[str, list[Entry]], settings: dict, version: str, epoch: int, date: str) -> Layout:
    """A container image for each architecture: the files of its only layer, and its `config`."""
    layout, images = Layout(), []
    for architecture, entries in layers.items():
        content = tar(entries, epoch)
        config = {"architecture": architecture, "os": "linux", "created": date, "config": settings,
                  "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(content)}"]},
                  "history": [{"created": date, "comment": "release/build of ironic-agent"}]}
        described = layout.add(json.dumps(config, sort_keys=True).encode(), CONFIG)
        image = layout.document(MANIFEST, config=described, layers=[layout.add(packed(content), LAYER)])
        images.append({**image, "platform": {"architecture": architecture, "os": "linux"}})
    layout.tag(layout.document(INDEX, manifests=images), version)
    return layout
