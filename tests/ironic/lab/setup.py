"""What has to be there before anything starts; each piece is made once and kept."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import LabError
from .places import LAB, RAMDISK, REPOSITORY, VENV

# Package, and the file by which its presence is seen.
PACKAGES = {
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "qemu-utils": "/usr/bin/qemu-img",  # the conductor looks into images with it
    "genisoimage": "/usr/bin/genisoimage",  # the conductor makes config drives with it
    "mtools": "/usr/bin/mcopy",
    "dosfstools": "/usr/sbin/mkfs.vfat",
    "e2fsprogs": "/usr/sbin/mke2fs",
    "zstd": "/usr/bin/zstd",
    "openssh-client": "/usr/bin/ssh",
    "iproute2": "/usr/bin/ip",
}


def install_packages(say):
    """Installs Debian packages that are missing, if we may."""
    missing = [name for name, file in PACKAGES.items() if not found(file)]
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise LabError(f"packages are missing; run this, then try again:\n  sudo {' '.join(command)}")
    say(f"installing {', '.join(missing)}")
    log = LAB / "packages.log"
    with open(log, "ab") as output:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for attempt in (["apt-get", "update"], command):
            if subprocess.run(attempt, stdout=output, stderr=output, env=environment).returncode != 0:
                raise LabError(f"`{' '.join(attempt)}` failed", log)


def found(file):
    """Whether a file is there, in /bin and /usr/bin and their like alike."""
    return any(Path(place + file.removeprefix("/usr")).exists() for place in ("", "/usr"))


def install_ironic(say):
    """The virtual environment with Ironic and the Redfish emulator."""
    wanted = (REPOSITORY / "tests/ironic/requirements.txt").read_bytes()
    stamp = VENV / "requirements.sha256"
    digest = hashlib.sha256(wanted + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    say("installing Ironic and sushy-tools into a virtual environment")
    shutil.rmtree(VENV, ignore_errors=True)
    log = LAB / "venv.log"
    with open(log, "wb") as output:
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(VENV / "bin/pip"), "install", "--disable-pip-version-check", "--only-binary", ":all:",
             "-r", str(REPOSITORY / "tests/ironic/requirements.txt")],
        ):
            if subprocess.run(command, stdout=output, stderr=output).returncode != 0:
                raise LabError(f"`{' '.join(command)}` failed", log)
    stamp.write_text(digest)


def find_ramdisk():
    for name in ("kernel", "initramfs"):
        if not (RAMDISK / name).is_file():
            raise LabError(f"there is no {RAMDISK / name}; run `make ramdisk` first")


def prepare(say):
    """Everything of the above. Must run outside the namespace: it needs the network."""
    LAB.mkdir(parents=True, exist_ok=True)
    find_ramdisk()
    install_packages(say)
    install_ironic(say)
