"""A whole release, made twice and used as its consumers do it. What boots is in boots.py.

    suite.py RELEASE WORKSHOP

RELEASE is the directory, WORKSHOP has what it was made of: binaries-ARCH and ramdisk-ARCH.
"""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("release", "tools", "ramdisk", "tests/packages", "tests/ironic")]

import publish  # noqa: E402
from debian import ARCHITECTURES, TARGET, TRIPLES, Packages  # noqa: E402
from parts import oci, sbom, uki  # noqa: E402
from parts.inputs import version  # noqa: E402

RELEASE, WORKSHOP = (Path(word).absolute() for word in sys.argv[1:3])
VERSION = version()
ARCHS = sorted(path.name.removeprefix("binaries-") for path in WORKSHOP.glob("binaries-*"))
EXPOSURE = 2.5  # of `systemd-analyze security`, at most
# Ironic's own client of registries, as the conductor runs it.
IRONIC_FETCHES = """
import sys
from ironic.common import oci_registry
from ironic.conf import CONF
CONF([], project="ironic")
CONF.set_override("permit_fallback_to_http_transport", True, "oci")
with open(sys.argv[2], "wb") as file:
    print(oci_registry.OciClient(verify=False).download_blob_from_manifest(sys.argv[1], file))
"""


def programs(label: str, *names: str) -> Path:
    return Packages().programs(label, list(names)) / "bin"


def run(*words: str | Path, **options) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"`{' '.join(map(str, words))}` ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done.stdout


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="release-suite-", dir=TARGET)
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)

    def one(self, pattern: str) -> Path:
        found = sorted(RELEASE.glob(pattern))
        self.assertEqual(len(found), 1, f"{pattern}: {found}")
        return found[0]

    def run_programs(self, directory: Path, arch: str):
        names = [path.name for path in sorted(directory.iterdir())]
        self.assertTrue(names)
        for name in names:
            content = (directory / name).read_bytes()
            self.assertEqual(int.from_bytes(content[18:20], "little"), TRIPLES[ARCHITECTURES[arch]].number)
            self.assertFalse(str(REPOSITORY).encode() in content,
                             f"{name} holds a path of the machine that compiled it")
            # Those of another architecture run in an emulator of its processor.
            emulator = [] if arch == "x86_64" else [programs("emulator", "qemu-user") / f"qemu-{arch}"]
            self.assertIn(VERSION, run(*emulator, directory / name, "--version"))


class Whole(Case):
    def test_every_file_is_in_the_sums_and_the_sums_are_right(self):
        run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=RELEASE)
        listed = {line.split()[1] for line in (RELEASE / "SHA256SUMS").read_text().splitlines()}
        made = {path.name for path in RELEASE.iterdir()} - {"SHA256SUMS", "SHA256SUMS.sig", "certificate.pem"}
        self.assertEqual(listed, made)

    def test_the_sums_are_signed(self):
        tools = programs("signing", "sbsigntool", "openssl")
        key = run(tools / "openssl", "x509", "-in", RELEASE / "certificate.pem", "-noout", "-pubkey")
        (self.room / "key").write_text(key)
        run(tools / "openssl", "dgst", "-sha256", "-verify", self.room / "key", "-signature", RELEASE / "SHA256SUMS.sig", RELEASE / "SHA256SUMS")

    def test_the_lean_ramdisk_is_small(self):
        for arch in ARCHS:
            size = self.one(f"ipa-rust-{arch}-*.initramfs").stat().st_size
            print(f"initramfs of {arch}: {size / 1e6:.1f} MB")
            self.assertLessEqual(size, 24e6)

    def test_binaries_run(self):
        for arch in ARCHS:
            with tarfile.open(self.one(f"ironic-agent-{VERSION}-{arch}.tar.gz")) as archive:
                archive.extractall(self.room, filter="data")
            self.run_programs(self.room / f"ironic-agent-{VERSION}-{arch}/bin", arch)


class Downloader(Case):
    def test_ironic_ipa_downloader_links_kernel_and_initramfs(self):
        server = publish.WebServer(RELEASE)
        self.addCleanup(server.close)
        for arch in ARCHS:
            publish.ipa_downloader(self.room, IPA_BASEURI=server.url, IPA_FLAVOR=f"rust-{arch}", IPA_BRANCH=VERSION, IPA_ARCH=arch)
            for part in ("kernel", "initramfs"):
                self.assertEqual(sha256(self.room / f"html/images/ironic-python-agent_{arch}.{part}"), sha256(WORKSHOP / f"ramdisk-{arch}" / part))


class Registry:
    """An OCI layout behind the two requests by digest of a registry."""

    def __init__(self, layout: Path):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                digest = re.search(r"/(?:manifests|blobs)/sha256:([0-9a-f]{64})$", self.path)
                if not digest or not (layout / "blobs/sha256" / digest[1]).is_file():
                    self.send_error(404)
                    return
                content = (layout / "blobs/sha256" / digest[1]).read_bytes()
                self.send_response(200)
                if "/manifests/" in self.path:
                    self.send_header("Content-Type", json.loads(content)["mediaType"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Oci(Case):
    def copy(self, archive: Path, tag: str) -> Path:
        (self.room / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        target = self.room / "copied"
        shutil.rmtree(target, ignore_errors=True)
        run(programs("skopeo", "skopeo") / "skopeo", "--policy", self.room / "policy.json", "copy", "--multi-arch", "all",
            f"oci-archive:{archive}:{tag}", f"oci:{target}:{tag}", env={**os.environ, "HOME": str(self.room), "TMPDIR": str(self.room)})
        return target

    def blob(self, layout: Path, digest: str) -> bytes:
        return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def test_skopeo_copies_the_gateway_whose_program_runs_alone(self):
        copied = self.copy(self.one("ironic-gateway-*.oci.tar"), VERSION)
        index = json.loads(self.blob(copied, json.loads((copied / "index.json").read_text())["manifests"][0]["digest"]))
        by_architecture = {each["platform"]["architecture"]: each for each in index["manifests"]}
        self.assertEqual(sorted(by_architecture), sorted(ARCHITECTURES[arch] for arch in ARCHS))
        manifest = json.loads(self.blob(copied, by_architecture["amd64"]["digest"]))
        config = json.loads(self.blob(copied, manifest["config"]["digest"]))
        self.assertEqual(config["config"]["User"], "65532:65532")
        root = self.room / "root"
        with tarfile.open(fileobj=io.BytesIO(self.blob(copied, manifest["layers"][0]["digest"]))) as layer:
            layer.extractall(root, filter=lambda member, path: member.replace(uid=None, gid=None, uname=None, gname=None, deep=False))
        self.assertIn(VERSION, run("unshare", "--map-root-user", "chroot", root, *config["config"]["Entrypoint"], "--version"))

    def layout(self) -> tuple[Path, dict[str, str]]:
        """The ramdisks, unpacked, and the digests of their tags."""
        layout = self.room / "layout"
        with tarfile.open(self.one("ironic-agent-ramdisk-*.oci.tar")) as archive:
            archive.extractall(layout, filter="data")
        tags = json.loads((layout / "index.json").read_text())["manifests"]
        return layout, {each["annotations"][oci.NAME]: each["digest"] for each in tags}

    def test_the_ramdisk_has_what_oras_pulls(self):
        layout, tags = self.layout()
        for arch in ARCHS:
            files = json.loads(self.blob(layout, tags[f"{VERSION}-{arch}"]))["layers"]
            for file, part in zip(files, ("kernel", "initramfs"), strict=True):
                self.assertEqual(file["annotations"][oci.TITLE], f"ipa-rust-{arch}-{VERSION}.{part}")
                self.assertEqual(self.blob(layout, file["digest"]), (WORKSHOP / f"ramdisk-{arch}" / part).read_bytes())

    def test_ironics_own_client_fetches_each_file(self):
        from lab import releases, setup
        setup.install_ironic(lambda _: None)
        python = releases.known()[-1].venv / "bin/python"
        layout, tags = self.layout()
        registry = Registry(layout)
        for arch in ARCHS:
            for part in ("kernel", "initramfs"):
                url = f"oci://{registry.address}/ramdisk@{tags[f'{VERSION}-{part}-{arch}']}"
                run(python, "-c", IRONIC_FETCHES, url, self.room / part)
                self.assertEqual(sha256(self.room / part), sha256(WORKSHOP / f"ramdisk-{arch}" / part))


class Debs(Case):
    def root(self, name: str, arch: str) -> Path:
        root = self.room / f"root-{name}-{arch}"
        run("dpkg-deb", "--extract", self.one(f"{name}_*_{ARCHITECTURES[arch]}.deb"), root)
        return root

    def test_the_programs_run(self):
        for arch in ARCHS:
            for name in ("ironic-shim", "ironic-agentctl"):
                self.run_programs(self.root(name, arch) / "usr/bin", arch)

    def test_the_command_line_has_its_page_and_completions(self):
        root = self.root("ironic-agentctl", ARCHS[0])
        for place in ("man/man1/agentctl.1.gz", "bash-completion/completions/agentctl", "doc/ironic-agentctl/copyright"):
            self.assertTrue((root / "usr/share" / place).is_file(), place)

    def test_the_unit_is_right_and_walled_in(self):
        root = self.root("ironic-shim", ARCHS[0])
        unit = root / "usr/lib/systemd/system/ironic-gateway.service"
        tools = programs("systemd", "systemd")
        text = unit.read_text().replace("/usr/bin/ironic-shim", str(root / "usr/bin/ironic-shim"))
        tried = self.room / unit.name
        tried.write_text(text)
        units = tools.parent / "root/lib/systemd/system"
        said = run(tools / "systemd-analyze", "verify", "--man=no", tried, env={**os.environ, "SYSTEMD_UNIT_PATH": str(units)})
        self.assertEqual(said, "")
        said = run(tools / "systemd-analyze", "security", "--offline=true", "--no-pager", tried)
        exposure = re.findall(r"Overall exposure level for ironic-gateway.service: (\d+\.\d+)", said)
        self.assertEqual(len(exposure), 1, said)
        print(f"exposure of ironic-gateway.service: {exposure[0]}")
        self.assertLessEqual(float(exposure[0]), EXPOSURE)

    def test_the_options_of_the_example_are_the_programs(self):
        root = self.root("ironic-shim", "x86_64")
        known = run(root / "usr/bin/ironic-shim", "--help")
        for line in (root / "usr/share/doc/ironic-shim/examples/gateway.conf").read_text().splitlines():
            if option := re.match(r"(\w+) =", line):
                self.assertRegex(known, rf"--{option[1]}\b")


class Contents(Case):
    """The documents about what is in an artefact, compared with the artefact by other means than those that made them."""

    def document(self, artefact: Path) -> dict:
        document = json.loads((RELEASE / f"{artefact.name}.cdx.json").read_text())
        self.assertEqual(document["metadata"]["component"]["hashes"][0]["content"], sha256(artefact))
        return document

    def test_every_artefact_has_one(self):
        for path in RELEASE.iterdir():
            if path.name.endswith((".iso", ".img", ".efi", ".deb", ".oci.tar", ".tar.gz")):
                document = self.document(path)
                self.assertTrue(document["components"])
                for component in document["components"]:
                    self.assertTrue(component["version"])
                    is_ours = component["name"].startswith(("ironic-", "rust-std"))
                    self.assertTrue(is_ours or re.fullmatch("[0-9a-f]{64}", component["hashes"][0]["content"]), component)

    def test_each_file_of_the_ramdisk_is_of_a_component_or_ours(self):
        zstd = programs("zstd", "zstd") / "zstd"
        for arch in ARCHS:
            document = self.document(self.one(f"ipa-rust-{arch}-{VERSION}.tar.gz"))
            places = {each["location"]: component for component in document["components"] for each in component["evidence"]["occurrences"]}
            files = [name for name, _ in sbom.unpack(self.one(f"ipa-rust-{arch}-*.initramfs").read_bytes(), zstd)]
            ours = {str(path.relative_to(REPOSITORY / "ramdisk/root")) for path in (REPOSITORY / "ramdisk/root").rglob("*")}
            self.assertEqual([name for name in files if name not in places and name not in ours and not sbom.GENERATED.fullmatch(name)], [])
            self.assertEqual(set(places) - set(files), {"kernel"})
            # The programs' own words for who they are.
            self.assertRegex(places["bin/busybox"]["version"], r"^1:1\.3")
            self.assertEqual(places["usr/sbin/nvme"]["name"], "nvme-cli")
            inside = {component["name"] for component in document["components"] for each in component["evidence"]["occurrences"]
                      if each["location"] == "bin/ironic-agent"}
            self.assertTrue(any(name.startswith("libc6-dev") for name in inside), inside)
            modules = next(name for name in files if name.startswith("lib/modules/") and name.endswith("/kernel/drivers/nvme/host/nvme.ko.xz"))
            self.assertEqual(places[modules]["bom-ref"], places["kernel"]["bom-ref"])

    def test_loaders_are_those_of_the_packages(self):
        tools = programs("media", "xorriso", "mtools")
        loaders = Packages().apart("loaders-of-the-test", ["shim-signed", "grub-efi-amd64-signed"]).root
        esp = self.one("ironic-agent-*-x86_64.esp.img")
        for name, place in (("BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"), ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")):
            run(tools / "mcopy", "-i", esp, f"::EFI/BOOT/{name}", self.room / name)
            self.assertEqual(sha256(self.room / name), sha256(loaders / place))
        run(tools / "xorriso", "-osirrox", "on", "-indev", self.one("ironic-agent-*-x86_64.iso"), "-extract", "/boot", self.room / "boot")
        self.assertEqual(sha256(self.room / "boot/grub/efiboot.img"), sha256(esp))
        for part in ("kernel", "initramfs"):
            self.assertEqual(sha256(self.room / "boot" / part), sha256(WORKSHOP / "ramdisk-x86_64" / part))
        image = uki.Program(self.one("ironic-agent-*-x86_64.efi").read_bytes())
        self.assertEqual(image.section(".initrd"), (WORKSHOP / "ramdisk-x86_64/initramfs").read_bytes())


class Again(Case):
    """Another user on another day in another place makes the same bytes of the same programs."""

    def test_the_same_bytes(self):
        place = self.room / "elsewhere with other sources"
        files = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
        for name in filter(None, files):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, place / name)
        for name in ("packages", "packages-arm64"):
            if (TARGET / name / "archives").is_dir():
                shutil.copytree(TARGET / name / "archives", place / "target" / name / "archives", copy_function=os.link)
        faketime = Packages().apart("faketime", ["libfaketime"])
        library = next(faketime.root.glob("usr/lib/*/faketime/libfaketime.so.1"))
        # cargo hangs under another clock; it only lists crates here.
        cargo = self.room / "bin/cargo"
        cargo.parent.mkdir()
        cargo.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec {shutil.which("cargo")} "$@"\n')
        cargo.chmod(0o755)
        other = {
            "PATH": f"{cargo.parent}:{os.environ['PATH']}",
            "HOME": str(self.room), "CARGO_HOME": os.environ.get("CARGO_HOME", str(Path.home() / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
            "LC_ALL": "C", "TZ": "Pacific/Auckland", "SOURCE_DATE_EPOCH": EPOCH,
            "LD_PRELOAD": str(library), "FAKETIME": "+400d", "FAKETIME_DONT_RESET": "1",
        }
        arguments: list[str | Path] = []
        for arch in ARCHS:
            binaries, ramdisk = WORKSHOP / f"binaries-{arch}", self.room / f"ramdisk-{arch}"
            self.stranger(place, other, "ramdisk/build", "--arch", arch, "--lock", "release/packages.lock", "--agent", binaries / "ironic-agent",
                          "--shim", binaries / "ironic-shim", "--out", ramdisk)
            self.same(WORKSHOP / f"ramdisk-{arch}", ramdisk, ["kernel", "initramfs", "packages.json"])
            arguments.append(f"{arch}={binaries}")
        again = self.room / "again"
        # In another order, too.
        self.stranger(place, other, "release/build", "--arch", *reversed(ARCHS), "--out", again, "--binaries", *arguments,
                      "--ramdisk", *(f"{arch}={self.room / f'ramdisk-{arch}'}" for arch in ARCHS), "--parameters", PARAMETERS)
        names = [path.name for path in sorted(again.iterdir()) if not path.name.startswith("SHA256SUMS") and ".efi" not in path.name]
        self.same(RELEASE, again, names)
        # The signature is not part of it.
        for path in again.glob("*.efi"):
            signed = self.room / "signed.efi"
            shutil.copy(RELEASE / path.name, signed)
            run(programs("signing", "sbsigntool", "openssl") / "sbattach", "--remove", signed)
            content = bytearray(signed.read_bytes())
            place = uki.Program(bytes(content)).start + 24 + 64
            content[place:place + 4] = bytes(4)  # the checksum, which the signer has filled in
            self.assertEqual(hashlib.sha256(content).hexdigest(), sha256(path))
        print(f"the same bytes: {len(names)} files")

    def stranger(self, place: Path, environment: dict[str, str], *words: str | Path) -> None:
        """Runs a program as another user on another machine."""
        run("unshare", "--user", "--map-user=4711", "--map-group=4711", "--uts", "sh", "-c", 'umask 0027; exec "$@"', "sh", *words, cwd=place,
            env=environment)

    def same(self, one: Path, other: Path, names: list[str]) -> None:
        self.assertEqual([name for name in names if sha256(one / name) != sha256(other / name)], [])


class FullDisk(Case):
    def test_a_ramdisk_that_does_not_fit_is_named_and_the_former_one_stays(self):
        script = ('mount -t tmpfs -o size=9m none "$1" && echo former >"$1/initramfs" && place=$1 && shift && "$@"; echo "status $?"; '
                  'cat "$place/initramfs"; ls "$place"')
        binaries = WORKSHOP / "binaries-x86_64"
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", self.room, REPOSITORY / "ramdisk/build", "--out", self.room,
             "--lock", REPOSITORY / "release/packages.lock", "--agent", binaries / "ironic-agent", "--shim", binaries / "ironic-shim"],
            capture_output=True, text=True, check=False)
        self.assertRegex(done.stderr, "^ramdisk: the disk is full .*unchanged\n$")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[lines.index("status 1") + 1], "former")
        self.assertNotIn("kernel", lines)

    def test_it_is_named_and_leaves_nothing(self):
        script = ('mount -t tmpfs -o size=20m none "$1" && mkdir "$1/dist" && touch "$1/dist/SHA256SUMS" && shift && "$@"; echo "status $?"; '
                  'find "$ROOM" -mindepth 1')
        arguments = [f"x86_64={WORKSHOP / 'binaries-x86_64'}", "--ramdisk", f"x86_64={WORKSHOP / 'ramdisk-x86_64'}"]
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", self.room, REPOSITORY / "release/build", "--out",
             self.room / "dist", "--binaries", *arguments], capture_output=True, text=True, check=False, env={**os.environ, "ROOM": str(self.room)})
        self.assertRegex(done.stderr, "the disk of .* is full: .* MB are free")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[lines.index("status 1") + 1:], [str(self.room / "dist"), str(self.room / "dist/SHA256SUMS")])


class WrongKey(Case):
    def test_it_is_named_and_leaves_nothing(self):
        tools = programs("signing", "sbsigntool", "openssl")
        for name in ("one", "other"):
            run(tools / "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "30", "-config", "/dev/null",
                "-keyout", self.room / f"{name}.key", "-out", self.room / f"{name}.pem")
        for key, certificate, shown, words in (("one", "other", "other", "is not the one of the certificate"),
                                               ("one", "one", "other", "--certificate: the signature of .* is not by the key")):
            done = subprocess.run(
                [REPOSITORY / "release/build", "--out", self.room / "dist", "--binaries", f"x86_64={WORKSHOP / 'binaries-x86_64'}",
                 "--ramdisk", f"x86_64={WORKSHOP / 'ramdisk-x86_64'}", "--sign", REPOSITORY / "release/sign",
                 "--certificate", self.room / f"{shown}.pem"], capture_output=True, text=True, check=False,
                env={**os.environ, "RELEASE_KEY": str(self.room / f"{key}.key"), "RELEASE_CERTIFICATE": str(self.room / f"{certificate}.pem")})
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, words)
            self.assertFalse(any(path.name.startswith("dist") for path in self.room.iterdir()))


EPOCH = os.environ["SOURCE_DATE_EPOCH"]
PARAMETERS = os.environ["PARAMETERS"]

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
