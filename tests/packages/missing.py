"""What builders say when something that they need is not there: packages of another architecture, firmware, kernel modules."""

import importlib.util
import os
import sys
import tempfile
import types
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("tools", "ramdisk", "tests/packages")]

from debian import Packages, Problem  # noqa: E402
from modules import select_modules  # noqa: E402
from suite import Archive  # noqa: E402

TRIPLE = "aarch64-unknown-linux-gnu"


def load(path: str) -> types.ModuleType:
    """A program whose file has no ending."""
    loader = SourceFileLoader(path.replace("/", "_"), str(REPOSITORY / path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Missing(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="packages-of-the-test-")
        self.addCleanup(scratch.cleanup)
        self.room = Path(scratch.name)
        archive = Archive(self.room / "archive")
        self.addCleanup(archive.close)
        archive.publish("something-else", "1")
        (self.room / "etc/sources.list.d").mkdir(parents=True)
        (self.room / "etc/sources.list").write_text(f"deb [trusted=yes] {archive.url} ./\n")
        # Neither proxies of the host nor its sources.
        configuration = self.room / "apt.conf"
        configuration.write_text('Dir::Etc::parts "/dev/null/"; Dir::Etc::main "/dev/null";')
        patched = mock.patch.dict(os.environ, {"APT_CONFIG": str(configuration), "no_proxy": "127.0.0.1"})
        patched.start()
        self.addCleanup(patched.stop)

    def packages(self, architecture: str = "amd64") -> Packages:
        """Those of the small archive."""
        return Packages(self.room / architecture, say=lambda _: None, etc=self.room / "etc", architecture=architecture)

    def cross(self, has_library: bool) -> str:
        """What release/compile says when the archive has no cross compiler."""
        program = load("release/compile")
        program.Packages = self.packages  # type: ignore[attr-defined]
        program.has_library = lambda _: has_library  # type: ignore[attr-defined]
        with self.assertRaises(Problem) as caught:
            program.cross("aarch64", TRIPLE)
        return str(caught.exception)

    def test_packages_that_compile_for_another_architecture_are_named(self):
        said = self.cross(has_library=True)
        self.assertIn("the packages that compile for aarch64 cannot be had (gcc-12-aarch64-linux-gnu, libc6-dev-arm64-cross", said)
        self.assertIn("Unable to locate package gcc-12-aarch64-linux-gnu", said)
        self.assertNotIn("rustup", said)

    def test_a_standard_library_that_is_missing_is_named_with_the_command_that_adds_it(self):
        said = self.cross(has_library=False)
        self.assertIn("rustc-web", said)
        self.assertIn(f"`rustup target add {TRIPLE}`", said)

    def test_a_package_of_firmware_that_the_archive_does_not_have_is_named(self):
        with self.assertRaisesRegex(Problem, "--firmware: the package firmware-nothing cannot be had .*non-free-firmware"):
            load("ramdisk/build").firmware_trees(self.packages(), "firmware-nothing")
        with self.assertRaisesRegex(Problem, "--firmware: there is no directory ./nowhere"):
            load("ramdisk/build").firmware_trees(self.packages(), "./nowhere")

    def test_a_module_that_the_kernel_does_not_have_is_named_with_its_line(self):
        chosen, modules = self.room / "modules.list", self.room / "lib/modules/6.1"
        modules.mkdir(parents=True)
        (modules / "modules.dep").write_text("kernel/net/one.ko.xz:\n")
        (modules / "modules.devname").write_text("")
        chosen.write_text("one\n# a comment\nnothing\n")
        kernel = types.SimpleNamespace(root=self.room, version="6.1", modules=modules)
        with self.assertRaisesRegex(Problem, r"modules\.list:3: kernel 6\.1 has no module or directory nothing"):
            select_modules(chosen, kernel, None, self.room / "tree")
        chosen.write_text("one\n")
        with self.assertRaisesRegex(Problem, r"--modules: kernel 6\.1 has no module or directory other/"):
            select_modules(chosen, kernel, None, self.room / "tree", [("other/", "--modules")])


if __name__ == "__main__":
    unittest.main()
