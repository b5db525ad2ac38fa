"""What `ramdisk/publish` makes, fetched as deployment tools fetch it: the rules of each, read from its source, which is named."""

import hashlib
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

PUBLISH = Path(__file__).resolve().parents[2] / "ramdisk/publish"
KERNEL, INITRAMFS = b"MZ kernel" * 1000, b"\x1f\x8b initramfs" * 3000


class WebServer:
    """A directory by HTTP, with entity tags, as nginx and Apache send them."""

    def __init__(self, directory: Path):
        self.sent: list[str] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = directory / self.path.lstrip("/")
                if not path.is_file():
                    self.send_error(404)
                    return
                content = path.read_bytes()
                tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
                is_known = self.headers.get("If-None-Match") == tag
                self.send_response(304 if is_known else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", str(0 if is_known else len(content)))
                self.end_headers()
                if not is_known:
                    owner.sent.append(path.name)
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def get(url: str, tag: str = "") -> tuple[bytes, str]:
    """The content, empty when the server has nothing else than `tag`, and the entity tag as it was sent."""
    request = urllib.request.Request(url, headers={"If-None-Match": tag} if tag else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read(), answer.headers["ETag"]
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return b"", error.headers["ETag"]
        raise


def ipa_downloader(shared: Path, **variables: str) -> None:
    """metal3-io/ironic-ipa-downloader, get-resource.sh at 854d640 (2026-07-02), without its cache and proxies."""
    flavor, branch = variables.get("IPA_FLAVOR", "centos9"), variables.get("IPA_BRANCH", "master").replace("/", "-")
    filename = variables.get("IPA_FILENAME", f"ipa-{flavor}-{branch}.tar.gz")
    endings = (ending for ending in (".tar.gz", ".tar.gz.sha256") if filename.endswith(ending))
    base = filename.removesuffix(next(endings, "".join(Path(filename).suffixes[-2:])))
    arch = variables.get("IPA_ARCH", "")
    destination = "ironic-python-agent" + (f"_{arch}" if arch else "")
    images = shared / "html/images"
    images.mkdir(parents=True, exist_ok=True)
    headers = images / f"{destination}.headers"
    known = headers.read_text().strip() if headers.exists() else ""
    content, tag = get(f"{variables['IPA_BASEURI']}/{filename}", known)
    if not content:
        return
    scratch = Path(tempfile.mkdtemp(dir=shared))
    (scratch / filename).write_bytes(content)
    (scratch / f"{filename}.headers").write_text(tag)
    subprocess.run(["tar", "-xaf", filename], cwd=scratch, check=True)
    place = images / (filename + "-" + tag.strip('"'))
    scratch.rename(place)
    for ending, source in (("headers", f"{filename}.headers"), ("initramfs", f"{base}.initramfs"), ("kernel", f"{base}.kernel")):
        link = images / f"{destination}.{ending}"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{place.name}/{source}")


def bifrost_checksum(text: str, url: str) -> str:
    """openstack/bifrost, bifrost-ironic-install/tasks/download_ipa_image.yml at 1e5af6ca (2026-07-19): a pattern of awk."""
    pattern = os.path.basename(url)
    lines = [line for line in text.splitlines() if re.search(f"{pattern}|^[a-z0-9]+$", line)]
    return "\n".join(line.split()[0] for line in lines)


def kayobe_checksum(text: str) -> str:
    """openstack/kayobe, roles/image-download/tasks/main.yml at 720683bc (2026-08-20)."""
    return text.split(" ")[0]


def get_url_checksum(text: str, url: str) -> str:
    """`checksum: sha256:URL` of Ansible's get_url, which openstack-ansible-os_ironic uses (33fa259, 2026-05-12): the line of
    the file's own name, which `*` or `./` may precede; a lone digest counts, too."""
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        return lines[0][0]
    return next(digest for digest, name in lines if name.lstrip("*").removeprefix("./") == os.path.basename(url))


class Published(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="publish-of-the-test-")
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)
        self.ramdisk, self.out, self.shared = self.room / "ramdisk", self.room / "web", self.room / "shared"
        self.ramdisk.mkdir()
        self.build()
        self.server = WebServer(self.out)
        self.addCleanup(self.server.close)

    def build(self, initramfs: bytes = INITRAMFS) -> None:
        (self.ramdisk / "kernel").write_bytes(KERNEL)
        (self.ramdisk / "initramfs").write_bytes(initramfs)

    def publish(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(PUBLISH), "--ramdisk", str(self.ramdisk), "--out", str(self.out), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def images(self, name: str) -> tuple[bytes, bytes]:
        images = self.shared / "html/images"
        return (images / f"{name}.kernel").read_bytes(), (images / f"{name}.initramfs").read_bytes()

    def test_the_downloader_of_metal3_finds_both_files(self):
        for arguments, variables, name in (
            ([], {"IPA_FLAVOR": "rust"}, "ironic-python-agent"),
            (["--name", "ipa-rust-stable-2026.1"], {"IPA_FLAVOR": "rust", "IPA_BRANCH": "stable/2026.1"}, "ironic-python-agent"),
            (["--name", "ironic-agent-1.2.3"], {"IPA_FILENAME": "ironic-agent-1.2.3.tar.gz", "IPA_ARCH": "x86_64"},
             "ironic-python-agent_x86_64"),
        ):
            with self.subTest(variables=variables):
                self.assertEqual(self.publish(*arguments).returncode, 0)
                self.shared = self.room / f"shared-{len(arguments)}-{name}"
                ipa_downloader(self.shared, IPA_BASEURI=self.server.url, **variables)
                self.assertEqual(self.images(name), (KERNEL, INITRAMFS))

    def test_the_downloader_fetches_a_new_ramdisk_and_no_old_one_again(self):
        variables = {"IPA_BASEURI": self.server.url, "IPA_FLAVOR": "rust"}
        self.publish()
        ipa_downloader(self.shared, **variables)
        # Made again of the same: nothing is new.
        self.build()
        self.publish()
        ipa_downloader(self.shared, **variables)
        self.assertEqual(self.server.sent, ["ipa-rust-master.tar.gz"])
        self.build(INITRAMFS[::-1])
        self.publish()
        ipa_downloader(self.shared, **variables)
        self.assertEqual(self.images("ironic-python-agent"), (KERNEL, INITRAMFS[::-1]))

    def test_every_tool_finds_the_checksum_of_every_file(self):
        self.publish("--name", "ipa-rust-stable-2026.1")
        files = sorted(path for path in self.out.iterdir() if path.suffix != ".sha256")
        self.assertEqual([path.name.removeprefix("ipa-rust-stable-2026.1") for path in files], [".initramfs", ".kernel", ".tar.gz"])
        for path in files:
            url = f"{self.server.url}/{path.name}"
            text, expected = get(f"{url}.sha256")[0].decode(), hashlib.sha256(get(url)[0]).hexdigest()
            for found in (bifrost_checksum(text, url), kayobe_checksum(text), get_url_checksum(text, url)):
                self.assertEqual(found, expected, path.name)

    def test_what_is_missing_or_cannot_be_a_name_is_named(self):
        (self.ramdisk / "initramfs").write_bytes(b"")
        done = self.publish()
        self.assertEqual((done.returncode, done.stderr.strip()),
                         (1, f"publish: --ramdisk: there is no {self.ramdisk}/initramfs; `make ramdisk` makes it"))
        self.build()
        for name in ("a/b", "-a", "", "a b", "a+b"):
            done = self.publish(f"--name={name}")
            self.assertEqual(done.returncode, 1)
            self.assertIn("publish: --name: ", done.stderr)
        self.assertFalse(self.out.exists())


    def test_a_full_disk_is_named_and_changes_nothing(self):
        self.publish()
        before = {path.name: path.read_bytes() for path in self.out.iterdir()}
        self.build(INITRAMFS[::-1])
        # Whatever is written to it does not fit.
        (self.out / "ipa-rust-master.tar.gz.new").symlink_to("/dev/full")
        done = self.publish()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Apublish: the disk of .* is full: .* MB are free; what was there before is unchanged\n\Z")
        self.assertEqual({path.name: path.read_bytes() for path in self.out.iterdir()}, before)
        self.assertEqual(self.publish().returncode, 0)


if __name__ == "__main__":
    unittest.main()
