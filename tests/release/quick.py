"""The makers of artefacts, each by itself, with small inputs. `suite.py` uses whole artefacts as their consumers do."""

import io
import json
import random
import runpy
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("release", "tools", "ramdisk", "tests/ironic", "tests/release")]

import boot_time  # noqa: E402
from archive import Archive, compress  # noqa: E402
from debian import ARCHITECTURES, Download, Lock, Packages, Problem, elf  # noqa: E402
from parts import c_library, deb, oci, sbom, software, uki  # noqa: E402
from parts.files import Entry, ReleaseError, sha256, tar  # noqa: E402
from parts.inputs import Inputs  # noqa: E402
from tool_list import OWN_TOOLS, read_tools  # noqa: E402

EPOCH = 1_700_000_000
BUILD = REPOSITORY / "release/build"


def stub(sections: int = 2, headers: int = 1024) -> bytes:
    """An EFI program with this many sections of 512 bytes."""
    program = bytearray(headers)
    program[:2] = b"MZ"
    struct.pack_into("<I", program, 0x3C, 0x80)
    program[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<HHIIIHH", program, 0x84, 0x8664, sections, 0, 0, 0, 240, 0x206)
    struct.pack_into("<H", program, 0x98, uki.PE32_PLUS)
    struct.pack_into("<II", program, 0x98 + 32, 4096, 512)
    struct.pack_into("<II", program, 0x98 + 56, 4096 * (sections + 1), headers)
    for number in range(sections):
        struct.pack_into("<8sIIII", program, 0x98 + 240 + 40 * number, f".own{number}".encode(), 300, 4096 * (number + 1), 512,
                         headers + 512 * number)
    return bytes(program) + bytes(512 * sections)


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="release of the test ")
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)


class Tar(Case):
    def test_the_order_of_the_entries_does_not_matter(self):
        entries = [Entry(f"a/{number}/b", bytes([number])) for number in range(20)] + [Entry("a/link", link="0/b"), Entry("a/c/", owner=7)]
        made = {tar(random.Random(seed).sample(entries, len(entries)), EPOCH) for seed in range(5)}
        self.assertEqual(len(made), 1)
        with tarfile.open(fileobj=io.BytesIO(made.pop())) as archive:
            members = archive.getmembers()
        self.assertEqual({member.mtime for member in members}, {EPOCH})
        self.assertEqual([member.name for member in members], sorted({member.name for member in members}))
        self.assertEqual({member.name: member.uid for member in members if member.uid}, {"a/c": 7})


class Deb(Case):
    def test_dpkg_reads_the_package(self):
        entries = [Entry("usr/bin/tool", b"#!/bin/sh\n", 0o755), Entry("etc/tool/", mode=0o750), Entry("usr/share/odd", b"xyz")]
        package = deb.Package("tool", "1.0~rc.1", "arm64", "a tool", "Does this.\n\nAnd that.", entries, {"Recommends": "other"},
                              {"postinst": "#!/bin/sh\ntrue\n"}, ["etc/tool/conf"])
        path = self.room / package.file
        path.write_bytes(package.build(EPOCH))
        self.assertEqual(path.name, "tool_1.0~rc.1_arm64.deb")
        said = subprocess.run(["dpkg-deb", "--field", path], check=True, capture_output=True, text=True).stdout
        for line in ("Version: 1.0~rc.1", "Architecture: arm64", "Recommends: other", "Installed-Size: 2", " And that."):
            self.assertIn(line, said.splitlines())
        subprocess.run(["dpkg-deb", "--raw-extract", path, self.room / "tree"], check=True)
        self.assertEqual((self.room / "tree/usr/bin/tool").read_bytes(), b"#!/bin/sh\n")
        self.assertEqual((self.room / "tree/usr/bin/tool").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.room / "tree/DEBIAN/conffiles").read_text(), "/etc/tool/conf\n")
        subprocess.run(["md5sum", "--check", "--strict", "DEBIAN/md5sums"], cwd=self.room / "tree", check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(path.read_bytes(), package.build(EPOCH))

    def test_the_gateways_scripts_are_shell(self):
        for name in ("postinst", "prerm"):
            subprocess.run(["sh", "-n", software.GATEWAY / name], check=True)


class Oci(Case):
    def layout(self, layout: oci.Layout) -> dict[str, bytes]:
        """The files of the layout; every blob is what its name says, and everything that is named is there."""
        with tarfile.open(fileobj=io.BytesIO(layout.archive(EPOCH))) as archive:
            files = {member.name: file.read() for member in archive if (file := archive.extractfile(member))}
        waiting = json.loads(files["index.json"])["manifests"]
        seen = set()
        while waiting:
            descriptor = waiting.pop()
            name = "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")
            self.assertEqual((sha256(files[name]), len(files[name])), (name.rpartition("/")[2], descriptor["size"]))
            seen.add(name)
            if descriptor["mediaType"] in (oci.MANIFEST, oci.INDEX):
                document = json.loads(files[name])
                waiting += document.get("manifests", []) + document.get("layers", []) + [document[key] for key in ("config",) if key in document]
        self.assertEqual(seen, {name for name in files if name.startswith("blobs/")})
        return files

    def test_the_ramdisk_has_a_manifest_for_each_file_and_one_for_both(self):
        files = self.layout(oci.ramdisk({"amd64": ("ipa-x86_64-1.0", b"k1", b"i1"), "arm64": ("ipa-aarch64-1.0", b"k2", b"i2")}, "1.0"))
        tags = {each["annotations"][oci.NAME]: each for each in json.loads(files["index.json"])["manifests"]}
        self.assertEqual(sorted(tags), ["1.0", "1.0-aarch64", "1.0-initramfs-aarch64", "1.0-initramfs-x86_64", "1.0-kernel-aarch64",
                                        "1.0-kernel-x86_64", "1.0-x86_64"])
        manifest = json.loads(files["blobs/sha256/" + tags["1.0-kernel-aarch64"]["digest"][7:]])
        self.assertEqual([files["blobs/sha256/" + layer["digest"][7:]] for layer in manifest["layers"]], [b"k2"])

    def test_the_container_names_its_layer_unpacked(self):
        files = self.layout(oci.container({"amd64": [Entry("bin/x", b"y")]}, {"User": "1"}, "1.0", EPOCH, "2020-01-01T00:00:00Z"))
        config = next(json.loads(content) for content in files.values() if b"diff_ids" in content)
        self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{sha256(tar([Entry('bin/x', b'y')], EPOCH))}"])


class Uki(Case):
    def test_sections_are_added_after_those_of_the_stub(self):
        dice = random.Random(5)
        for sections in (1, 3, 9):
            parts = {f".p{number}": dice.randbytes(dice.choice((1, 511, 512, 513, 5000))) for number in range(4)}
            program = uki.Program(uki.assemble(stub(sections), parts))
            found = program.sections()
            self.assertEqual([section.name for section in found[sections:]], list(parts))
            for name, content in parts.items():
                self.assertEqual(program.section(name), content)
            for before, after in zip(found, found[1:], strict=False):
                self.assertGreaterEqual(after.address, before.address + before.size)
                self.assertEqual((after.address % 4096, after.offset % 512), (0, 0))
            size, = struct.unpack_from("<I", program.content, 0x98 + 56)
            self.assertGreaterEqual(size, found[-1].address + found[-1].size)

    def test_what_is_no_stub_is_named(self):
        for content, words in ((b"", "too short"), (b"\0" * 4096, "no 64-bit EFI program"), (stub(13), "no room for 4 more")):
            with self.subTest(words), self.assertRaisesRegex(ReleaseError, words):
                uki.assemble(content, {f".p{number}": b"x" for number in range(4)})


class Sbom(Case):
    def test_what_is_linked_is_listed_and_no_more(self):
        names = {name for name, _ in sbom.dependencies("x86_64", "ironic-shim")}
        self.assertLess({"ironic-shim", "tonic", "tokio", "rustls", "ring"}, names)
        self.assertFalse({"tempfile", "proptest", "protox", "serde_derive", "ironic-agent"} & names)

    def test_a_crate_that_is_not_listed_is_found_in_the_program(self):
        for place in (b"/crates/left-pad-1.2.3/src/lib.rs", b"/home/x/.cargo/registry/src/index-1f/left-pad-1.2.3/src/lib.rs"):
            with self.assertRaisesRegex(ReleaseError, "left-pad 1.2.3"):
                sbom.crates("x86_64", "ironic-shim", b"\x7fELF\0" + place, "bin/ironic-shim")

    def test_the_c_library_of_a_program_is_listed(self):
        libraries = [c_library.Library("libc.a", "c" * 64, "libc6-dev", "2.36-9+deb12u14", "amd64"),
                     c_library.Library("libgcc.a", "a" * 64, "libgcc-12-dev", "12.2.0-14", "amd64")]
        c_library.write(self.room, libraries)
        inputs = Inputs({"x86_64": self.room}, {}, Lock(REPOSITORY / "release/packages.lock"), self.room)
        parts = sbom.program(inputs, "x86_64", "agentctl", b"\x7fELF", "bin/agentctl")
        found = parts.components["pkg:deb/debian/libc6-dev@2.36-9%2Bdeb12u14?arch=amd64#libc.a"]
        self.assertEqual((found["version"], found["hashes"][0]["content"]), ("2.36-9+deb12u14", "c" * 64))
        self.assertIn("libgcc-12-dev", {each["name"] for each in parts.components.values()})

    def test_the_c_library_is_that_which_the_compiler_links(self):
        path = Path(subprocess.run(["cc", "-print-file-name=libc.a"], check=True, capture_output=True, text=True).stdout.strip())
        found = {library.file: library for library in c_library.read(self.room)}
        self.assertEqual(sorted(found), sorted(c_library.LIBRARIES))
        self.assertEqual((found["libc.a"].package, found["libc.a"].sha256), ("libc6-dev", sha256(path.read_bytes())))

    def test_the_c_library_of_a_cross_compiler_is_that_of_its_packages(self):
        packages = [Download(f"{name}_{version}_all.deb", 1, "") for name, version in (
            ("libc6-dev-arm64-cross", "2.36-8cross1"), ("libgcc-12-dev-arm64-cross", "12.2.0-14cross1"), ("libc6-dev", "2.36-9"))]
        compiler = self.room / "gcc"
        compiler.write_text(f'#!/bin/sh\necho "{self.room}/${{1#*=}}"\n')
        compiler.chmod(0o755)
        for name in c_library.LIBRARIES:
            (self.room / name).write_text(name)
        found = [(library.file, library.package, library.version) for library in c_library.of_compiler([compiler], packages)]
        self.assertEqual(found, [("libc.a", "libc6-dev-arm64-cross", "2.36-8cross1"),
                                 *((name, "libgcc-12-dev-arm64-cross", "12.2.0-14cross1") for name in ("libgcc.a", "libgcc_eh.a"))])
        with self.assertRaisesRegex(Problem, "the package that has libc.a is not among"):
            c_library.of_compiler([compiler], packages[1:])

    def test_every_file_of_an_initramfs_is_read(self):
        tree = self.room / "tree"
        files = {f"d{number % 3}/f{number}": random.Random(number).randbytes(number * 7) for number in range(30)}
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
        (tree / "link").symlink_to("d0/f0")
        packed = compress(Archive().pack(tree), "gzip")
        self.assertEqual(dict(sbom.unpack(packed, Path("/nonexistent"))), files)


class Programs(Case):
    def test_a_program_that_needs_libraries_is_no_part_of_a_release(self):
        (self.room / "ironic-agent").symlink_to(Path(sys.executable).resolve())
        inputs = Inputs({"x86_64": self.room}, {}, Lock(REPOSITORY / "release/packages.lock"), self.room)
        with self.assertRaisesRegex(ReleaseError, "ironic-agent is linked dynamically: `release/compile x86_64`"):
            inputs.program("x86_64", "ironic-agent")
        with self.assertRaisesRegex(Problem, "--agent: .*/ironic-agent is linked dynamically"):
            runpy.run_path(str(REPOSITORY / "ramdisk/build"))["check_program"]("--agent", self.room / "ironic-agent", "x86_64")

    def test_flags_of_the_environment_do_not_reach_the_compiler(self):
        flags = dict.fromkeys(("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS",
                               "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS"), "-Ctarget-cpu=native")
        rest = {"PATH": "/bin", "CARGO_HOME": "/c", "CC_aarch64_unknown_linux_gnu": "gcc", "CARGO_TARGET_DIR": "/t", "RUSTDOCFLAGS": "x"}
        without_flags = runpy.run_path(str(REPOSITORY / "release/compile"))["without_flags"]
        self.assertEqual(without_flags({**flags, **rest}), rest)


class Elf(Case):
    def test_libraries_are_those_that_the_loader_finds(self):
        python = Path(sys.executable).resolve()
        listed = subprocess.run(["ldd", python], check=True, capture_output=True, text=True).stdout
        self.assertLessEqual(set(elf.needed(python)), {line.split()[0] for line in listed.splitlines()})
        self.assertIn("libc.so.6", elf.needed(python))

    def test_what_is_no_program_needs_nothing(self):
        (self.room / "text").write_text("#!/bin/sh\n")
        self.assertEqual(elf.needed(self.room / "text"), [])


class BootTime(Case):
    def test_the_stages_are_what_lies_between_the_milestones(self):
        said = "".join(f"[ {uptime}] ramdisk: milestone event={event} uptime={uptime} more=1\n" for event, uptime in (
            ("init", "2.50"), ("checked", "2.75"), ("drivers", "3.50"), ("programs", "3.75"), ("network", "4.00"), ("memory", "4.10")))
        found = boot_time.stages(said, 6.0, 8.5)
        self.assertEqual(found, {"firmware": 3.5, "kernel": 2.5, "checks": 0.25, "drivers": 0.75, "programs": 0.25, "network": 0.25,
                                 "heartbeat": 1.0, "all": 8.5})
        self.assertEqual(sum(found[name] for name in boot_time.STAGES), found["all"])


class Asked(Exception):
    """A set of packages was asked for, and the lock has it."""


class Recorder(Lock):
    """The lock, which gives no packages but remembers what it was asked for."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.asked: set[str] = set()

    def packages(self, architecture, label, names, choose, apt):
        super().packages(architecture, label, names, choose, apt)
        self.asked.add(f"{architecture} {label}")
        raise Asked


class Locked(Case):
    def test_the_sets_are_those_that_a_release_asks_for(self):
        """A program that is added to the ramdisk, or to the tools, has to be locked, too."""
        lock = Recorder(REPOSITORY / "release/packages.lock")
        inputs, (tools, _) = Inputs({}, {}, lock, self.room), read_tools(REPOSITORY / "ramdisk/tools.list")
        calls = [lambda: inputs.programs, inputs.authorities, lambda: Packages(lock=lock).sysroot(OWN_TOOLS)]
        for arch, debian in ARCHITECTURES.items():
            packages = Packages(architecture=debian, lock=lock)
            calls += [packages.kernel, partial(packages.sysroot, tools), partial(inputs.loaders, arch)]
        for call in calls:
            self.assertRaises(Asked, call)
        self.assertEqual(lock.asked, set(lock.sets))

    def test_the_file_is_what_was_read(self):
        path = REPOSITORY / "release/packages.lock"
        lock = Lock(path)
        self.assertGreater(len(lock.sets), 5)
        lock.path = self.room / "lock"
        lock.save()
        self.assertEqual(lock.path.read_text(), path.read_text())

    def test_a_line_that_is_neither_is_named(self):
        path = self.room / "lock"
        path.write_text("[amd64 kernel: ]\nlinux_1_amd64.deb 5\n")
        with self.assertRaisesRegex(Problem, "lock:2: expected"):
            Lock(path)
        with self.assertRaisesRegex(Problem, "make update"):
            Lock(self.room / "absent")


class Make(Case):
    def test_the_ramdisk_is_where_the_release_looks_for_it(self):
        """Also where cargo's directory is another one: its programs and tools/debian's are there, too."""
        for name in ("release/compile", "ramdisk/build", "release/build"):
            (self.room / name).parent.mkdir(exist_ok=True)
            (self.room / name).write_text(f'#!/bin/sh\necho "$0 $*" >>"{self.room}/called"\n')
            (self.room / name).chmod(0o755)
        make = self.room / "release/make"
        make.write_bytes((REPOSITORY / "release/make").read_bytes())
        for target, expected in (("", "target"), (f"{self.room}/elsewhere", f"{self.room}/elsewhere")):
            environment = {"PATH": "/usr/bin:/bin", **({"CARGO_TARGET_DIR": target} if target else {})}
            subprocess.run(["bash", make, "x86_64"], env=environment, check=True)
            self.assertIn(f"--out {expected}/reproducible/ramdisk-x86_64\n", (self.room / "called").read_text())


class Failing(Case):
    """Whatever ends the making of a release, what was there stays."""

    def build(self, *arguments: str) -> str:
        done = subprocess.run([sys.executable, BUILD, "--out", self.room / "dist", "--ramdisk", f"x86_64={self.room / 'ramdisk'}",
                               "--binaries", f"x86_64={self.room}", *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.room)) for path in self.room.rglob("*") if path.is_file())

    def test_a_missing_ramdisk_is_named(self):
        (self.room / "dist").mkdir()
        (self.room / "dist/SHA256SUMS").write_text("of before\n")
        self.assertIn("make ramdisk ARCH=x86_64", self.build())
        self.assertEqual(self.left(), ["dist/SHA256SUMS"])
        self.assertEqual(list(self.room.iterdir()), [self.room / "dist"])

    def test_a_directory_of_somebody_else_is_left_alone(self):
        (self.room / "dist").mkdir()
        (self.room / "dist/thesis.tex").write_text("years of work\n")
        self.assertIn("files that are no release", self.build())
        self.assertEqual(self.left(), ["dist/thesis.tex"])

    def test_the_time_must_be_one(self):
        for name in ("kernel", "initramfs"):
            (self.room / "ramdisk").mkdir(exist_ok=True)
            (self.room / "ramdisk" / name).write_bytes(b"x")
        (self.room / "ramdisk/packages.json").write_text("[]")
        for time in ("yesterday", "-5", "5"):
            done = subprocess.run(
                [sys.executable, BUILD, "--out", self.room / "dist", "--ramdisk", f"x86_64={self.room / 'ramdisk'}"],
                capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": time})
            self.assertIn("SOURCE_DATE_EPOCH", done.stderr)
        self.assertFalse((self.room / "dist").exists())


if __name__ == "__main__":
    unittest.main()
