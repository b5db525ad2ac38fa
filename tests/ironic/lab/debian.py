"""A real Debian in the shapes in which people deploy it: signed shim and GRUB, systemd, cloud-init, SSH.

    mmdebstrap ──▶ base.ext4 ──▶ a virtual machine: tables, file systems, Debian's own grub-install ──▶ SHAPE.raw

What needs no disk is made here, at full speed; the emulated machine does what needs one. Both are kept in
target/lab/debian until what they are made of changes.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from .errors import LabError, last_lines
from .places import LAB
from .process import Service, run, wait_for

MIB = 1 << 20
SYSTEM = Path(__file__).resolve().parent / "system" / "debian"
KEPT = LAB / "debian"
BASE_SIZE = 1400 * MIB
# A shape, and the size of the image.
SHAPES = {
    "cloud": 1600 * MIB,  # GPT: BIOS boot partition, EFI system partition, ext4, as Debian's cloud images are
    "mbr": 1500 * MIB,  # MBR, GRUB for BIOS, ext4
    "mbr-uefi": 1600 * MIB,  # MBR with an EFI system partition
    "xfs": 1700 * MIB,  # GPT, EFI system partition, XFS
    "lvm": 1900 * MIB,  # GPT, EFI system partition, ext4 on a logical volume
    "btrfs": 1600 * MIB,  # GPT, EFI system partition, btrfs with the root in the subvolume @rootfs
    "partition": 1500 * MIB,  # ext4 alone, with Debian's loaders below /boot/efi
    "partition-xfs": 1600 * MIB,  # XFS alone, likewise
    "partition-btrfs": 1500 * MIB,  # btrfs alone, with the root in the subvolume @rootfs
}
PACKAGES = [
    "systemd-sysv", "udev", "dbus", "netbase", "iproute2", "openssh-server", "cloud-init", "initramfs-tools", "kmod", "zstd",
    "linux-image-cloud-amd64", "grub-efi-amd64", "grub-efi-amd64-signed", "shim-signed", "grub-pc-bin",
    "e2fsprogs", "dosfstools", "xfsprogs", "btrfs-progs", "lvm2", "mdadm", "fdisk",
]
UNWANTED = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"]
READY, FAILED = "SHAPE IS READY", "SHAPE FAILED"


def build(say, name, content):
    """The raw image `debian-SHAPE.raw`, from an earlier run if nothing changed."""
    shape = name.removeprefix("debian-").removesuffix(".raw")
    base = build_base(say, content)
    made = KEPT / f"{name}.{key(base.name, shape, content.kernel.version, *scripts())}"
    if not made.is_file():
        for old in KEPT.glob(f"{name}.*"):
            old.unlink()
        say(f"finishing Debian in the shape {shape!r} in a virtual machine (minutes, once)")
        draft = made.with_suffix(".new")
        finish(base, shape, draft, content)
        draft.rename(made)
    return made


def scripts():
    return [path.read_bytes() for path in sorted(SYSTEM.iterdir())]


def key(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


# The tree ------------------------------------------------------------------------------------


def suite():
    """The release of this machine, whose package sources are used."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip().strip('"')
    raise LabError("/etc/os-release does not tell the release (VERSION_CODENAME), so no Debian can be made of its packages")


def sources():
    """The files of this machine's package sources that have the release."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    found = [str(path) for path in places
             if path.suffix in (".list", ".sources") and path.is_file() and suite() in path.read_text(errors="replace")]
    if not found:
        raise LabError(f"no file below /etc/apt names a source of packages for {suite()}")
    return found


def build_base(say, content):
    """An ext4 file system with all of the system but a boot loader."""
    KEPT.mkdir(parents=True, exist_ok=True)
    made = KEPT / f"base-{key(suite(), *PACKAGES, *UNWANTED, BASE_SIZE, (SYSTEM / 'customize').read_bytes())}.ext4"
    if made.is_file():
        return made
    for old in KEPT.glob("base-*"):
        old.unlink()
    say("making a Debian with mmdebstrap (minutes, once)")
    draft, log = made.with_suffix(".new"), KEPT / "mmdebstrap.log"
    draft.unlink(missing_ok=True)
    bootstrap = content.packages.programs("bootstrap", ["mmdebstrap"]) / "bin"
    command = [
        str(bootstrap / "mmdebstrap"), "--variant=minbase", f"--mode={mode()}", f"--include={','.join(PACKAGES)}",
        '--aptopt=Apt::Install-Recommends "false"', *(f"--dpkgopt=path-exclude={path}" for path in UNWANTED),
        # Within the namespace in which the files have their owners.
        f'--customize-hook={SYSTEM / "customize"} "$1" {draft} {BASE_SIZE} {program("mke2fs")}',
        "--format=null", suite(), "/dev/null", *sources(),
    ]
    if os.geteuid() == 0:
        # What is mounted in there is nobody else's matter.
        command = [program("unshare"), "--mount", "--propagation", "private", *command]
    with open(log, "wb") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                              env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8",
                                   "PATH": f"{bootstrap}:{os.environ['PATH']}:/usr/sbin:/sbin"})
    if done.returncode != 0:
        draft.unlink(missing_ok=True)
        raise LabError(f"mmdebstrap ended with status {done.returncode}", log)
    draft.rename(made)
    return made


def mode():
    """How mmdebstrap becomes the root of its tree."""
    if why := obstacle():
        raise LabError(why)
    return "root" if os.geteuid() == 0 else "unshare"


def obstacle():
    """Why this user cannot make a Debian; empty if he can."""
    if os.geteuid() == 0:
        return ""
    name = run(["id", "-un"]).strip()
    ranges = [line for file in ("/etc/subuid", "/etc/subgid") if Path(file).is_file()
              for line in Path(file).read_text().splitlines() if line.partition(":")[0] == name]
    if len(ranges) < 2 or not shutil.which("newuidmap"):
        return (
            "a Debian has files of many users: as an ordinary user this needs the package uidmap and ranges of numbers "
            f"in /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}); "
            "or run it as root")
    return ""


def program(name):
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        raise LabError(f"the program {name} is missing")
    return found


# The disk ------------------------------------------------------------------------------------


def finish(base, shape, draft, content):
    """Makes the image of a shape in a virtual machine that has the base as its first disk, the image as its
    second, and a spare one."""
    spare, log = KEPT / "spare", KEPT / f"{shape}.log"
    for path, size in ((draft, SHAPES[shape]), (spare, 128 * MIB)):
        path.unlink(missing_ok=True)
        with open(path, "wb") as file:
            file.truncate(size)
    log.write_bytes(b"")
    initrd = content.machine_of(f"debian-{shape}", ["/bin/busybox"], SYSTEM / "modules.list", [SYSTEM / "init", SYSTEM / "shapes"])
    drives = [(base, "on"), (draft, "off"), (spare, "off")]
    machine = Service("the machine that finishes Debian", KEPT / "qemu.log")
    machine.start([
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768",
        "-display", "none", "-vga", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", f"file:{log}",
        "-kernel", str(content.kernel.image), "-initrd", str(initrd),
        "-append", f"console=ttyS0 quiet no_timer_check panic=-1 lab.shape={shape}",
        *(word for number, (path, read_only) in enumerate(drives) for word in (
            "-drive", f"if=none,id=d{number},file={path},format=raw,cache=unsafe,readonly={read_only},discard=unmap",
            "-device", f"virtio-blk-pci,drive=d{number}")),
    ])
    try:
        wait_for(f"Debian in the shape {shape!r}", lambda: ended(machine, log), 1500, log, pause=0.5)
    finally:
        machine.stop()
        spare.unlink(missing_ok=True)


def ended(machine, log):
    text = log.read_text(errors="replace")
    if FAILED in text or "Kernel panic" in text:
        raise LabError("the machine that finishes Debian failed:\n  " + "\n  ".join(last_lines(log, 30)), log)
    if READY in text and machine.process.poll() is not None:
        return True
    if READY not in text:
        machine.check()
    return False
