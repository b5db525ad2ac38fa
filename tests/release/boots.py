"""Artefacts that boot, each as firmware starts it, until the agent's first heartbeat; and those that must not."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / path) for path in ("tools", "tests/ironic", "tests/release")]

import venvs  # noqa: E402
from debian import TARGET, Packages, Problem  # noqa: E402
from lab import namespace, releases, setup  # noqa: E402
from machine import API, Failed, Ironic, Machine, aavmf, cd, sata_cd, uefi, usb_stick  # noqa: E402

PROGRAMS = {"x86_64": ["qemu-system-x86", "ovmf", "mtools", "dosfstools", "genisoimage", "iproute2"],
            "aarch64": ["qemu-system-arm", "qemu-efi-aarch64", "mtools", "dosfstools", "iproute2"]}
# Puts keys into the variables of a virtual machine's firmware.
VARIABLES = "virt-firmware==26.10"
OWNER = "a0baa8a3-041d-48a8-bc87-c36d121b5e3d"
# How the conductor makes an ISO of kernel, ramdisk and the EFI system partition.
IRONIC_MAKES = """
import sys
from ironic.common import images, kernel_parameters
from ironic.conf import CONF
CONF([], project="ironic")
image, kernel, ramdisk, esp, api = sys.argv[1:]
line = kernel_parameters.KernelCommandLine.parse(f"console=ttyS0 ipa-api-url={api}")
images.create_esp_image_for_uefi(image, kernel, ramdisk, esp_image=esp, kernel_cmd_line=line)
"""
# What the firmware says when it refuses a program.
REFUSED = "Access Denied"


class Boots:
    """The release, and everything that a machine needs to try it."""

    def __init__(self, release: Path, room: Path, certificate: Path, programs: dict[str, Path]):
        self.release, self.room, self.certificate, self.programs = release, room, certificate, programs
        self.ironic = Ironic()
        self.number = 0

    def find(self, ending: str, arch: str) -> Path:
        return next(self.release.glob(f"ironic-agent-*-{arch}{ending}"))

    def boot(self, name: str, firmware: Callable[[Path, Path], list[str]] | None, media: list[str], arch: str = "x86_64") -> None:
        """Boots to the first heartbeat."""
        self.number += 1
        directory, programs = self.room / name, self.programs[arch]
        words = firmware(programs, directory) if firmware else []
        with Machine(programs, directory, self.number, words, media, arch) as machine:
            machine.wait_for_heartbeat(self.ironic)

    # ISO ------------------------------------------------------------------------------------------

    def iso_from_cd_by_uefi(self) -> None:
        """With Secure Boot and the keys that machines are sold with: Debian's shim, GRUB and kernel are signed."""
        self.boot("iso-uefi-cd", uefi, sata_cd(self.find(".iso", "x86_64")))

    def iso_from_usb_by_uefi(self) -> None:
        self.boot("iso-uefi-usb", uefi, usb_stick(self.find(".iso", "x86_64")))

    def iso_from_cd_by_bios(self) -> None:
        self.boot("iso-bios-cd", None, sata_cd(self.find(".iso", "x86_64")))

    def iso_from_usb_by_bios(self) -> None:
        self.boot("iso-bios-usb", None, usb_stick(self.find(".iso", "x86_64")))

    def iso_on_arm(self) -> None:
        self.boot("iso-aarch64", aavmf, cd(self.find(".iso", "aarch64")), "aarch64")

    def esp_in_an_iso_that_ironic_makes(self) -> None:
        """By the conductor's own code, with our file as `[conductor] bootloader`; with Secure Boot as well."""
        image, kernel, initramfs = self.room / "of-ironic.iso", *(next(self.release.glob(f"ipa-rust-x86_64-*.{part}"))
                                                                 for part in ("kernel", "initramfs"))
        python = releases.known()[-1].venv / "bin/python"
        bin_directory = self.room / "bin"
        bin_directory.mkdir()
        # The conductor starts genisoimage by its older name.
        (bin_directory / "mkisofs").symlink_to(self.programs["x86_64"] / "bin/genisoimage")
        subprocess.run([python, "-c", IRONIC_MAKES, image, kernel, initramfs, self.find(".esp.img", "x86_64"), API], check=True,
                       env={**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}, stderr=subprocess.DEVNULL)
        self.boot("esp", uefi, sata_cd(image))

    # Unified kernel image ---------------------------------------------------------------------------

    def own_keys(self, programs: Path, directory: Path) -> list[str]:
        """Firmware that trusts our key and nobody else's."""
        python = venvs.ensure(TARGET / "virt-firmware", [VARIABLES], lambda _: None)
        variables = self.room / "own-keys.fd"
        if not variables.exists():
            blank = programs / "root/usr/share/OVMF/OVMF_VARS_4M.fd"
            certificate = str(self.certificate)
            subprocess.run([python.parent / "virt-fw-vars", "--input", blank, "--output", variables, "--set-pk", OWNER, certificate,
                            "--add-kek", OWNER, certificate, "--add-db", OWNER, certificate, "--secure-boot"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return uefi(programs, directory, variables)

    def stick(self, name: str, program: bytes, arch: str) -> list[str]:
        """An EFI system partition with the program where firmware looks for it, as a USB stick."""
        tools, image, source = self.programs[arch] / "bin", self.room / f"{name}.img", self.room / f"{name}.efi"
        source.write_bytes(program)
        with open(image, "wb") as file:
            file.truncate(len(program) + (16 << 20))
        subprocess.run([tools / "mkfs.vfat", "-F", "32", image], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([tools / "mmd", "-i", image, "::EFI", "::EFI/BOOT"], check=True)
        loader = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}[arch]
        subprocess.run([tools / "mcopy", "-i", image, source, f"::EFI/BOOT/{loader}"], check=True)
        source.unlink()
        return usb_stick(image)

    def signed_uki(self) -> None:
        program = self.find(".efi", "x86_64").read_bytes()
        self.boot("uki-signed", self.own_keys, self.stick("signed", program, "x86_64"))

    def uki_on_arm(self) -> None:
        self.boot("uki-aarch64", aavmf, self.stick("uki-aarch64", self.find(".efi", "aarch64").read_bytes(), "aarch64"), "aarch64")

    def refuse(self, name: str, program: bytes) -> None:
        directory, programs = self.room / name, self.programs["x86_64"]
        self.number += 1
        words = self.own_keys(programs, directory)
        with Machine(programs, directory, self.number, words, self.stick(name, program, "x86_64")) as machine:
            machine.wait_for(REFUSED)
            if "Linux version" in machine.said():
                raise Failed("the kernel was started")

    def changed_uki(self) -> None:
        """One bit of the ramdisk, somewhere."""
        program = bytearray(self.find(".efi", "x86_64").read_bytes())
        place = random.Random(17).randrange(len(program) // 3, len(program) // 2)
        program[place] ^= 1
        self.refuse("uki-changed", bytes(program))

    def unsigned_uki(self) -> None:
        program = self.find(".efi", "x86_64").read_bytes()
        # Without the signature, which is what follows the last section, and without the entry that names it.
        unsigned = self.room / "unsigned.efi"
        unsigned.write_bytes(program)
        tools = Packages().programs("signing", ["sbsigntool", "openssl"]) / "bin"
        subprocess.run([tools / "sbattach", "--remove", unsigned], check=True, stderr=subprocess.DEVNULL)
        self.refuse("uki-unsigned", unsigned.read_bytes())


CASES = {"x86_64": ["iso_from_cd_by_uefi", "iso_from_usb_by_uefi", "iso_from_cd_by_bios", "iso_from_usb_by_bios",
                    "esp_in_an_iso_that_ironic_makes", "signed_uki", "changed_uki", "unsigned_uki"],
         "aarch64": ["iso_on_arm", "uki_on_arm"]}


def main() -> int:
    """Arguments: the release, the certificate that signed it, architectures, names of cases."""
    release, certificate, *words = sys.argv[1:]
    archs = [word for word in words if word in PROGRAMS] or ["x86_64"]
    names = [name for arch in archs for name in CASES[arch]]
    if chosen := [word for word in words if word not in PROGRAMS]:
        if unknown := set(chosen) - set(names):
            print(f"there is no case {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
            return 2
        names = chosen
    programs = {arch: Packages().programs(f"boot-{arch}", PROGRAMS[arch]) for arch in archs}
    if not namespace.is_inside():
        venvs.ensure(TARGET / "virt-firmware", [VARIABLES], lambda _: None)
        if "esp_in_an_iso_that_ironic_makes" in names:
            setup.install_ironic(lambda _: None)
        namespace.check()
        return namespace.run_inside(0)
    for number in namespace.SIGNALS:
        signal.signal(number, lambda *_: sys.exit(130))
    subprocess.run([next(iter(programs.values())) / "bin/ip", "link", "set", "lo", "up"], check=True)
    room = Path(tempfile.mkdtemp(prefix="release-boots-", dir=TARGET))
    boots, failed = Boots(Path(release), room, Path(certificate), programs), 0
    for name in names:
        try:
            getattr(boots, name)()
            print(f"ok      {name}", flush=True)
        except (Failed, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"FAILED  {name}: {error}", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    if not failed and not os.environ.get("KEEP"):
        shutil.rmtree(room)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"boots: {problem}")
