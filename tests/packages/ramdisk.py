"""The builder of the ramdisk: firmware of packages and of directories; what its init makes of the command line."""

import errno
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("tools", "ramdisk", "tests/packages")]

import firmware  # noqa: E402
from debian import Problem  # noqa: E402
from missing import load  # noqa: E402
from outputs import put_all  # noqa: E402

BUILD = load("ramdisk/build")
INIT = (REPOSITORY / "ramdisk" / "root" / "init").read_text()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6 me@example.org"


def files(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="ramdisk-of-the-test-")
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)

    def write(self, **contents: str) -> Path:
        """A directory with files, `__` in their names for a slash."""
        root = self.room / f"directory-{random.randrange(1 << 40)}"
        for name, content in contents.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root


class Firmware(Case):
    ASKED = {"card": {"maker/one.fw", "maker/two.fw"}, "other": {"other.bin"}}

    def test_of_a_package_what_modules_ask_for_is_taken(self):
        root = self.write(maker__one="content", maker__three="not asked for")
        (root / "maker/one").rename(root / "maker/one-1.2.fw")
        (root / "maker/one.fw").symlink_to("one-1.2.fw")
        tree = self.room / "tree"
        firmware.install("firmware-maker", [root], self.ASKED, tree)
        self.assertEqual(files(tree), ["lib/firmware/maker/one.fw"])
        self.assertEqual((tree / "lib/firmware/maker/one.fw").read_text(), "content")
        self.assertEqual(firmware.absent(self.ASKED, tree), ["other"])

    def test_a_package_for_which_nobody_asks_is_a_mistake(self):
        with self.assertRaisesRegex(Problem, "no chosen module asks for a file of the package firmware-maker"):
            firmware.install("firmware-maker", [self.write(maker__three="")], self.ASKED, self.room / "tree")

    def test_a_directory_is_taken_whole(self):
        tree = self.room / "tree"
        root = self.write(maker__three="x", deep__er__file="y")
        firmware.install(f"{root}/", [root], {}, tree)
        self.assertEqual(files(tree), ["lib/firmware/deep/er/file", "lib/firmware/maker/three"])
        (self.room / "empty").mkdir()
        with self.assertRaisesRegex(Problem, "there is no file in"):
            firmware.install("./empty", [self.room / "empty"], {}, tree)

    def test_a_package_without_firmware_is_named(self):
        with self.assertRaisesRegex(Problem, "the package tool holds nothing below /lib/firmware"):
            firmware.package_trees(self.write(usr__bin__tool=""), "tool")

    def test_compressed_files_count(self):
        tree = self.room / "tree"
        root = self.write(maker__two="x")
        (root / "maker/two").rename(root / "maker/two.fw.zst")
        firmware.install("firmware-maker", [root], self.ASKED, tree)
        self.assertEqual(firmware.absent(self.ASKED, tree), ["other"])

    def test_each_line_of_the_list_has_driver_package_and_files(self):
        rows = firmware.read_list(REPOSITORY / "ramdisk/firmware.list")
        self.assertGreater(len(rows), 20)
        self.assertEqual(len({(row.driver, row.patterns) for row in rows}), len(rows))
        self.assertTrue(all(re.fullmatch("firmware-[a-z0-9-]+", row.package) for row in rows))
        broken = self.write(list="card firmware-maker # without files\n") / "list"
        with self.assertRaisesRegex(Problem, ":1: expected `driver package pattern ...`"):
            firmware.read_list(broken)


class Manifest(Case):
    """What the builder writes down of every file, and what the init makes of it."""

    def setUp(self):
        super().setUp()
        self.tree = self.room / "tree"
        for name in (*BUILD.HASHED, "lib/firmware/maker/a card  with blanks.fw", "lib/firmware/maker/it's \\ odd.fw"):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(f"{name}\n")
        (self.tree / "etc").mkdir()
        BUILD.write_manifest(self.tree)
        (self.tree / "etc/complete").touch()

    def check(self) -> list[str]:
        """What `check_unpacked` complains about, by each shell that is here: the machine's, and busybox."""
        said = []
        busybox = shutil.which("busybox")
        for shell, prefix in (("sh", ""), *([(f"{busybox} ash", "{busybox} ")] if busybox else [])):
            found = re.search(r"^check_unpacked\(\) \{\n.*?^\}\n", INIT, re.M | re.S)
            assert found
            function = found[0].replace("/etc/", f"{self.tree}/etc/").replace("/run/", f"{self.room}/")
            # What is at the root of the ramdisk is in a directory here.
            function = function.replace("stat -c '%s %n'", "stat_below")
            stat = f"#!/bin/sh\nfor name; do {prefix.format(busybox=busybox)}stat -c \"%s $name\" '{self.tree}'\"$name\"; done\n"
            (self.room / "stat_below").write_text(stat)
            (self.room / "stat_below").chmod(0o755)
            script = (f'PATH="{self.room}:$PATH"\ndmesg() {{ :; }}\ngive_up() {{ printf "%s\\n" "$@"; exit 3; }}\n'
                      f"{function}\ncheck_unpacked\necho whole")
            done = subprocess.run([*shell.split(), "-c", script], capture_output=True, text=True, check=False)
            self.assertEqual(done.stderr, "")
            said.append(done.stdout)
        self.assertEqual(len(set(said)), 1, said)
        return said[0].splitlines()

    def test_names_with_blanks_are_found(self):
        self.assertEqual(self.check(), ["whole"])

    def test_what_is_missing_is_named_as_it_is_called(self):
        (self.tree / "lib/firmware/maker/a card  with blanks.fw").write_text("")
        self.assertEqual(self.check(), ["7 files were packed, these differ or are missing:",
                                        "    /lib/firmware/maker/a card  with blanks.fw (42 bytes)"])

    def test_a_name_with_a_line_break_is_refused(self):
        (self.tree / "lib/firmware/maker/two\nlines.fw").write_text("")
        with self.assertRaisesRegex(Problem, r"the name 'lib/firmware/maker/two\\nlines.fw' has a line break"):
            BUILD.write_manifest(self.tree)


class Outputs(Case):
    def test_a_full_disk_changes_no_file(self):
        out = self.write(kernel="old", initramfs="old", stamp="old")
        contents = {out / name: b"new" for name in ("kernel", "initramfs", "stamp")}
        # Whatever is written to it does not fit.
        (out / "initramfs.new").symlink_to("/dev/full")
        with self.assertRaises(OSError) as caught:
            put_all(contents, out / "stamp")
        self.assertEqual(caught.exception.errno, errno.ENOSPC)
        self.assertEqual({path.name: path.read_text() for path in out.iterdir()}, dict.fromkeys(("kernel", "initramfs", "stamp"), "old"))
        put_all(contents, out / "stamp")
        self.assertEqual({path.read_bytes() for path in contents}, {b"new"})
        self.assertEqual(files(out), ["initramfs", "kernel", "stamp"])


class Init(Case):
    """Functions of the init, run by a shell with files of the test in place of the machine's."""

    def shell(self, command: str, **places: str) -> str:
        names = "|".join(("parameter", "heed_ssh_key", "heed_fips", "name_missing_firmware", "firmware_source"))
        functions = "".join(found[0] for found in re.finditer(rf"^({names})\(\) \{{\n.*?^\}}\n", INIT, re.M | re.S))
        for place, content in places.items():
            path = self.room / place
            path.write_text(content)
            functions = functions.replace({"cmdline": "/proc/cmdline", "list": "/etc/firmware.list"}[place], f"'{path}'")
        functions = functions.replace("/run/", f"{self.room}/")
        script = f'say() {{ echo "$*"; }}\n{functions}\n{command}'
        done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        return done.stdout.strip()

    def test_a_parameter_is_found_in_every_form_in_which_loaders_pass_it(self):
        for form, value in (
            (f'sshkey="{KEY}"', KEY), (f'"sshkey={KEY}"', KEY), ("sshkey=plain", "plain"), ("xsshkey=no", ""),
            ('other="a sshkey" b', ""), ("", ""),
        ):
            for line in (form, f"quiet {form}", f"{form} quiet", f'a="b c" {form} d=e'):
                with self.subTest(line=line):
                    self.assertEqual(self.shell("parameter sshkey", cmdline=f"{line}\n"), value)

    def test_a_key_without_permission_is_ignored_aloud(self):
        for more in ("", " ramdisk.ssh=0", " ramdisk.ssh=yes"):
            said = self.shell("heed_ssh_key", cmdline=f'sshkey="{KEY}"{more}\n')
            self.assertIn("IS IGNORED", said)
            self.assertNotIn(KEY, said)
        self.assertEqual(self.shell("heed_ssh_key", cmdline="ramdisk.ssh=1\n"), "")

    def test_what_is_no_key_lets_nobody_in(self):
        for value in ("ssh-ed25519", "key.pub", "rsa AAAA"):
            self.assertIn("IS NOT A PUBLIC KEY", self.shell("heed_ssh_key", cmdline=f'ramdisk.ssh=1 sshkey="{value}"\n'))

    def test_fips_is_answered(self):
        self.assertIn("NOT A VALIDATED MODULE", self.shell("heed_fips", cmdline="quiet fips=1\n"))
        self.assertEqual(self.shell("heed_fips", cmdline="quiet fips=0\n"), "")

    def test_missing_firmware_is_named_once_with_its_package(self):
        log = """[    4.1] bnx2x 0000:03:00.0: firmware: failed to load bnx2x/bnx2x-e2-7.13.21.0.fw (-2)
[    4.2] bnx2x 0000:03:00.0: Direct firmware load for bnx2x/bnx2x-e2-7.13.21.0.fw failed with error -2
[    4.3] odd 0000:04:00.0: Direct firmware load for odd.bin failed with error -2
[    4.4] e100 0000:05:00.0 eth0: firmware: direct-loading firmware e100/d102e_ucode.bin
[    4.5] odd 0000:04:00.0: firmware: failed to load damaged.bin (-22)
"""
        command = f"dmesg() {{ cat <<'END'\n{log}END\n}}\nname_missing_firmware; name_missing_firmware"
        said = self.shell(command, list="tigon/* firmware-misc-nonfree\nbnx2x/* firmware-bnx2x\n").splitlines()
        self.assertEqual(len(said), 2, said)
        self.assertIn("bnx2x 0000:03:00.0 NEEDS bnx2x/bnx2x-e2-7.13.21.0.fw", said[0])
        self.assertIn("--firmware firmware-bnx2x", said[0])
        self.assertIn("odd 0000:04:00.0 NEEDS odd.bin", said[1])
        self.assertIn("--firmware DIRECTORY", said[1])


if __name__ == "__main__":
    unittest.main()
