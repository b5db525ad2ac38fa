"""`tools/debian` against small archives on loopback, which move on, fail, are slow, or are not signed."""

import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from debian import Lock, Packages, Problem, apt  # noqa: E402

apt.RETRY_PAUSES = (0.1, 0.1)
# What `Packages.sysroot` wants besides the named packages.
USUAL = ("libc6", "ca-certificates", "kmod", "zstd")
FILLING = 200_000
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from debian import Packages
print(Packages(Path(sys.argv[2]), say=lambda text: None).sysroot(["tool"]).root)
"""


class Archive:
    """An archive of packages in a directory, served by HTTP."""

    def __init__(self, directory: Path, port: int = 0):
        self.directory, self.slow, self.refused = directory, 0.0, 0
        self.asked: list[str] = []
        directory.mkdir(parents=True)
        owner = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(directory))

            def log_message(self, *_):
                pass

            def do_GET(self):
                owner.asked.append(self.path)
                # What is published twice within a second must not pass for unchanged.
                del self.headers["If-Modified-Since"]
                if self.path.endswith(".deb"):
                    if owner.refused:
                        owner.refused -= 1
                        self.send_error(503)
                        return
                    time.sleep(owner.slow)
                super().do_GET()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        # A client that was killed is no error of the server.
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def publish(self, name: str, version: str, depends: str = "") -> None:
        """Adds a package with one file, and takes other versions of it away."""
        for old in self.directory.glob(f"{name}_*"):
            old.unlink()
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch)
            (tree / "DEBIAN").mkdir()
            (tree / "DEBIAN/control").write_text(
                f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\n"
                + (f"Depends: {depends}\n" if depends else "") + "Description: test\n")
            (tree / "usr/share").mkdir(parents=True)
            content = f"{name} {version}\n".encode() + random.Random(name).randbytes(FILLING)
            (tree / f"usr/share/{name}").write_bytes(content)
            file = f"{name}_{version.rpartition(':')[2]}_amd64.deb"
            subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", scratch, str(self.directory / file)],
                           check=True, stdout=subprocess.DEVNULL)
        self.index()

    def index(self) -> None:
        stanzas = []
        for path in sorted(self.directory.glob("*.deb")):
            fields = subprocess.run(["dpkg-deb", "-f", str(path)], check=True, stdout=subprocess.PIPE, text=True)
            data = path.read_bytes()
            stanzas.append(f"{fields.stdout}Filename: ./{path.name}\nSize: {len(data)}\n"
                           f"SHA256: {hashlib.sha256(data).hexdigest()}\n")
        packages = "\n".join(stanzas).encode()
        (self.directory / "Packages").write_bytes(packages)
        now = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime())
        (self.directory / "Release").write_text(
            f"Origin: test\nDate: {now}\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n")


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="packages of the test ")
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)
        self.archive = Archive(self.room / "archive")
        self.addCleanup(self.archive.close)
        for name in USUAL:
            self.archive.publish(name, "1")
        self.archive.publish("library", "1:2.0", "dpkg")
        self.archive.publish("dpkg", "1")
        self.archive.publish("tool", "1.0+x", "library (>= 1:1)")
        self.etc, self.directory = self.room / "etc", self.room / "packages"
        (self.etc / "sources.list.d").mkdir(parents=True)
        (self.etc / "sources.list").write_text(f"deb [trusted=yes] {self.archive.url} ./\n")
        # Neither proxies of the host nor its sources.
        configuration = self.room / "apt.conf"
        configuration.write_text('Dir::Etc::parts "/dev/null/"; Dir::Etc::main "/dev/null";')
        for name, value in {"APT_CONFIG": configuration, "APT_ETC": self.etc, "no_proxy": "127.0.0.1"}.items():
            before = os.environ.get(name)
            if before is None:
                self.addCleanup(os.environ.pop, name, None)
            else:
                self.addCleanup(os.environ.__setitem__, name, before)
            os.environ[name] = str(value)
        self.said: list[str] = []

    def tool(self) -> str:
        """The version of the tool that is unpacked."""
        root = Packages(self.directory, say=self.said.append).sysroot(["tool"]).root
        self.assertTrue((root / "usr/share/library").is_file())
        self.assertFalse((root / "usr/share/dpkg").exists(), "what only an installation needs")
        return (root / "usr/share/tool").read_bytes().split(b"\n")[0].decode().removeprefix("tool ")

    def forget(self):
        """Removes what was unpacked."""
        shutil.rmtree(self.directory / "unpacked")

    def make_old(self, days: float):
        stamp = json.loads((self.directory / "lists.json").read_text())
        for key in ("renewed", "until"):
            stamp[key] -= days * apt.DAY
        (self.directory / "lists.json").write_text(json.dumps(stamp))

    # ------------------------------------------------------------------------------------------

    def test_packages_come_with_what_they_depend_on_and_once(self):
        self.assertEqual(self.tool(), "1.0+x")
        count = len(self.archive.asked)
        self.assertEqual(self.tool(), "1.0+x")
        self.assertEqual(len(self.archive.asked), count, "nothing is asked for again")

    def test_lists_are_renewed_after_a_day_and_not_before(self):
        self.tool()
        self.archive.publish("tool", "2", "library")
        self.assertEqual(self.tool(), "1.0+x")
        self.make_old(1.01)
        self.assertEqual(self.tool(), "2")

    def test_lists_from_the_future_are_renewed(self):
        self.tool()
        self.archive.publish("tool", "2", "library")
        self.make_old(-3)
        self.assertEqual(self.tool(), "2")

    def test_lists_are_renewed_when_the_archive_has_moved_on(self):
        self.tool()
        self.archive.publish("tool", "2", "library")
        self.forget()
        shutil.rmtree(self.directory / "archives")
        self.assertEqual(self.tool(), "2")

    def test_lists_are_renewed_when_the_sources_change(self):
        self.tool()
        other = Archive(self.room / "other")
        self.addCleanup(other.close)
        other.publish("tool", "3", "library")
        (self.etc / "sources.list.d/other.sources").write_text(
            f"Types: deb\nURIs: {other.url}\nSuites: ./\nTrusted: yes\n")
        self.assertEqual(self.tool(), "3")

    def test_a_package_that_the_lists_do_not_know_yet_is_looked_for_in_new_ones(self):
        self.tool()
        self.archive.publish("novelty", "1")
        root = Packages(self.directory, say=self.said.append).sysroot(["novelty"]).root
        self.assertTrue((root / "usr/share/novelty").is_file())
        with self.assertRaisesRegex(Problem, "no-such-package"):
            Packages(self.directory, say=self.said.append).sysroot(["no-such-package"])

    def test_downloads_are_tried_again(self):
        self.archive.refused = 3
        self.assertEqual(self.tool(), "1.0+x")

    def test_without_network_what_is_there_is_used(self):
        self.tool()
        self.make_old(9)
        self.archive.close()
        self.assertEqual(self.tool(), "1.0+x")
        self.assertIn("could not be renewed and are 216 hours old", " ".join(self.said))

    def test_without_network_and_lists_the_error_has_apts_words(self):
        self.archive.close()
        with self.assertRaisesRegex(Problem, "no package list could be fetched(.|\n)*127.0.0.1"):
            self.tool()

    def test_sources_that_fail_are_left_out(self):
        unsigned = Archive(self.room / "unsigned")
        self.addCleanup(unsigned.close)
        unsigned.publish("tool", "9")
        more = self.etc / "sources.list.d"
        (more / "a-unreachable.list").write_text("deb [trusted=yes] http://127.0.0.2:1/ ./\n")
        (more / "b-malformed.list").write_text("this is not a source\n")
        (more / "c-unsigned.list").write_text(f"deb {unsigned.url} ./\n")
        (more / "d-conflicting.list").write_text(f"deb [signed-by=/etc/no.gpg] {self.archive.url} ./\n")
        (more / "e-cdrom.list").write_text("deb cdrom:[Debian]/ stable main\n")
        self.assertEqual(self.tool(), "1.0+x")
        said = "\n".join(self.said)
        for word in ("b-malformed", "d-conflicting", "not signed"):
            self.assertIn(word, said)
        self.archive.publish("tool", "2", "library")
        self.make_old(0.1)
        self.assertEqual(self.tool(), "2", "lists that are not complete are not kept for a day")

    def test_the_hosts_packages_and_pins_are_not_asked(self):
        (self.etc / "preferences").write_text("Package: tool\nPin: version 1.0*\nPin-Priority: -1\n")
        (self.etc / "apt.conf.d").mkdir()
        (self.etc / "apt.conf.d/hook").write_text(
            f'APT::Update::Post-Invoke {{ "touch \'{self.room}/hook-ran\'"; }}; Dir::State::status "/nowhere";\n')
        self.assertEqual(self.tool(), "1.0+x")
        self.assertFalse((self.room / "hook-ran").exists())

    def test_damaged_files_are_fetched_again(self):
        self.tool()
        for path in (self.directory / "archives").glob("*.deb"):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        self.forget()
        self.assertEqual(self.tool(), "1.0+x")

    def test_damaged_notes_are_made_again(self):
        self.tool()
        for name in ("lists.json", "answers.json", "apt.conf", "status", "preferences"):
            for content in (b"", b"{", b"[1]", b"\xff\xfe"):
                (self.directory / name).write_bytes(content)
                self.assertEqual(self.tool(), "1.0+x", (name, content))

    def test_what_was_downloaded_elsewhere_is_taken(self):
        self.tool()
        offered = self.room / "offered"
        (self.directory / "archives").rename(offered)
        wrong = next(offered.glob("tool_*"))
        wrong.write_bytes(bytes(wrong.stat().st_size))
        self.forget()
        self.archive.asked.clear()
        os.environ["PACKAGE_DOWNLOADS"] = str(offered)
        self.addCleanup(os.environ.pop, "PACKAGE_DOWNLOADS")
        self.assertEqual(self.tool(), "1.0+x")
        self.assertEqual([path.split("/")[-1][:5] for path in self.archive.asked if path.endswith(".deb")], ["tool_"])

    def lock(self) -> Lock:
        """A lock of the tool as the archive has it."""
        lock = Lock(self.room / "lock", renews=True)
        Packages(self.directory, say=self.said.append, lock=lock).sysroot(["tool"])
        lock.save()
        return Lock(lock.path)

    def locked_tool(self, lock: Lock) -> str:
        root = Packages(self.directory, say=self.said.append, lock=lock).sysroot(["tool"]).root
        return (root / "usr/share/tool").read_bytes().split(b"\n")[0].decode()

    def test_a_lock_holds_versions_while_the_archive_moves_on(self):
        lock = self.lock()
        self.archive.publish("tool", "2", "library")
        self.make_old(3)
        self.assertEqual(self.locked_tool(lock), "tool 1.0+x")
        self.assertEqual(self.tool(), "2")
        self.assertEqual(self.locked_tool(lock), "tool 1.0+x")
        self.assertEqual(self.locked_tool(self.lock()), "tool 2")

    def test_a_locked_version_that_the_archive_no_longer_has_is_named(self):
        lock = self.lock()
        self.archive.publish("tool", "2", "library")
        shutil.rmtree(self.directory)
        with self.assertRaisesRegex(Problem, r"no longer has what .*/lock has locked \(Version '1.0\+x' for 'tool'.*`make update`"):
            self.locked_tool(lock)

    def test_a_locked_version_that_the_archive_dropped_since_the_lists_were_made_is_named(self):
        lock = self.lock()
        self.archive.publish("tool", "2", "library")
        self.forget()
        shutil.rmtree(self.directory / "archives")
        with self.assertRaisesRegex(Problem, r"no longer has what .*/lock has locked \(Version '1.0\+x' for 'tool'.*`make update`"):
            self.locked_tool(lock)
        # Nor does it help that the lists still have it.
        self.archive.publish("tool", "1.0+x", "library (>= 1:1)")
        self.make_old(3)
        Packages(self.directory, say=self.said.append).apt.refresh()
        next(self.archive.directory.glob("tool_*")).unlink()
        with self.assertRaisesRegex(Problem, r"Failed to fetch \S+tool_1.0%2bx_amd64.deb +404.*`make update`"):
            self.locked_tool(lock)

    def test_a_set_that_the_lock_does_not_have_is_named(self):
        lock = self.lock()
        packages = Packages(self.directory, say=self.said.append, lock=lock)
        with self.assertRaisesRegex(Problem, "no packages for amd64 library: `make update`"):
            packages.sysroot(["library"])
        with self.assertRaisesRegex(Problem, "of `tool .*`, but `tool library .*` is wanted: `make update`"):
            packages.sysroot(["tool", "library"])

    def test_a_run_that_was_killed_anywhere_is_repaired_by_the_next(self):
        self.archive.slow = 0.05
        dice = random.Random(11)
        started = time.monotonic()
        self.start().communicate()
        whole = time.monotonic() - started
        killed = 0
        for number in range(18):
            if number % 3 == 0:
                shutil.rmtree(self.directory, ignore_errors=True)
            process = self.start()
            try:
                process.wait(dice.uniform(0.02, 0.9 * whole))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
            process.communicate()
            if number % 3 == 2:
                self.assertEqual(self.tool(), "1.0+x")
                self.assertEqual(sorted(path.suffix for path in (self.directory / "unpacked").iterdir() if
                                        path.suffix == ".new"), [])
        self.assertGreater(killed, 3)

    def test_two_at_once_wait_for_each_other(self):
        self.archive.slow = 0.1
        processes = [self.start() for _ in range(3)]
        roots = {process.communicate()[0] for process in processes}
        self.assertEqual([process.returncode for process in processes], [0, 0, 0])
        self.assertEqual(len(roots), 1)

    def start(self) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(TOOLS), str(self.directory)],
                                stdout=subprocess.PIPE, text=True, start_new_session=True)


if __name__ == "__main__":
    unittest.main()
