"""A Redfish BMC for virtual machines: sushy-tools' emulator with a driver that runs QEMU.

    bmc.py CONFIGURATION.json

Runs inside the virtual environment. What a machine boots follows the Redfish boot override:

  Pxe  the kernel, ramdisk and command line of the iPXE script that Ironic wrote for the
       machine's MAC, loaded through the firmware: no TFTP, no DHCP options, no boot ROM. Where the machine's
       directory has a file `tftp-root`, what the firmware finds by DHCP and TFTP itself; where it has a file
       `http-boot`, the loader that the firmware fetches by HTTP, which then follows the script that DHCP names
  Cd   the inserted virtual media, by the firmware
  Hdd  the disks, by the firmware

Every power-on writes a line "#### power on, boot device D" into the console's file, so that the file
tells the machine's whole story.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems import base, fakedriver

CONFIGURATION = json.loads(Path(sys.argv[1]).read_text())
# By architecture: the program that is the machine, its board and processor, and the code and the variables of its firmware.
# The newest emulated ARM processor signs addresses, which takes the emulator several times as long; a real server's does not.
FIRMWARE = Path(CONFIGURATION["firmware"])
BOARDS = {
    "x86_64": ("qemu-system-x86_64", "q35", "max", FIRMWARE / "OVMF_CODE_4M.fd", FIRMWARE / "OVMF_VARS_4M.fd"),
    "aarch64": ("qemu-system-aarch64", "virt", "neoverse-n1", FIRMWARE.parent / "AAVMF/AAVMF_CODE.fd", FIRMWARE.parent / "AAVMF/AAVMF_VARS.fd"),
}
BOOT_FILE = "bootx64.efi"  # Ironic's default for UEFI
DEVICES = {"virtio": "virtio-blk-pci", "nvme": "nvme", "sata": "ide-hd", "scsi": "scsi-hd"}


def option(path):
    """A path as part of an option of QEMU, which commas end."""
    return str(path).replace(",", ",,")


class Machine:
    """One virtual machine and its settings."""

    def __init__(self, settings):
        self.settings, self.directory = settings, Path(settings["directory"])
        self.process, self.lock = None, threading.RLock()
        self.boot_device, self.boot_mode, self.media = "Hdd", settings["firmware"], {}
        self.directory.mkdir(parents=True, exist_ok=True)
        self.program, self.board, self.processor, self.code, blank = BOARDS[settings["arch"]]
        self.variables = self.directory / "firmware-variables.fd"
        if not self.variables.exists():
            shutil.copy(blank, self.variables)

    @property
    def is_on(self):
        return self.process is not None and self.process.poll() is None

    def power_on(self):
        with self.lock:
            if self.is_on:
                return
            if self.http_boot:
                subprocess.run([self.http_boot["program"], "--inplace", self.variables, "--set-boot-uri", self.http_boot["loader"]],
                               check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            command = self.command()
            with open(self.directory / "console.log", "ab") as console:
                console.write(f"\n#### power on, boot device {self.boot_device}\n".encode())
            with open(self.directory / "qemu.log", "ab") as log:
                log.write((" ".join(command) + "\n").encode())
                log.flush()
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            # Reaps it, whenever it ends.
            threading.Thread(target=self.process.wait, daemon=True).start()

    def power_off(self):
        with self.lock:
            if self.process and self.is_on:
                self.process.kill()
                self.process.wait()

    def command(self):
        s = self.settings
        words = (
            f"{self.program} -name {s['name']} -uuid {s['uuid']} -machine {self.board} -accel tcg,thread=multi "
            f"-cpu {self.processor} -smp {s['processors']} -m {s['memory']} -display none -vga none -nodefaults -no-user-config "
            f"-serial chardev:console -device virtio-rng-pci "
            f"-device virtio-net-pci,netdev={'nic' if self.is_plugged_in else 'net0'},mac={s['mac']},romfile="
            f"{',bootindex=0' if self.tftp_root else ''}"
        ).split()
        network = f"user,id=net0,net={s['network']}.0/24,dhcpstart={s['network']}.15"
        network += "".join(f",hostfwd=tcp:{outside}-:{inside}" for outside, inside in self.forwards())
        if self.tftp_root:
            network += f",tftp={option(self.tftp_root)},bootfile={BOOT_FILE}"
        if self.http_boot:
            network += f",bootfile={self.http_boot['script']}"
        words += ["-netdev", network]
        words += ["-chardev", f"file,id=console,path={option(self.directory / 'console.log')},append=on"]
        if self.is_plugged_in:
            # A hub between the machine, its network and a switch that only speaks.
            words += ["-netdev", "hubport,id=nic,hubid=0", "-netdev", "hubport,id=network,hubid=0,netdev=net0"]
            words += ["-netdev", f"socket,id=switch,udp=127.0.0.1:{s['cable'] + 100},localaddr=127.0.0.1:{s['cable']}"]
            words += ["-netdev", "hubport,id=cable,hubid=0,netdev=switch"]
        if self.boot_mode == "UEFI":
            words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={option(self.code)}"]
            words += ["-drive", f"if=pflash,format=raw,unit=1,file={option(self.variables)}"]
        words += self.disks()
        if self.media.get("Cd"):
            order = 0 if self.boot_device == "Cd" else 20
            words += ["-drive", f"if=none,id=cd0,media=cdrom,readonly=on,format=raw,file={option(self.media['Cd'])}"]
            words += ["-device", f"ide-cd,bus=ide.5,drive=cd0,bootindex={order}"]
        if self.boot_device == "Pxe" and not (self.tftp_root or self.http_boot):
            kernel, ramdisk, line = self.network_boot()
            words += ["-kernel", kernel, "-initrd", ramdisk, "-append", line]
        return words

    def forwards(self):
        """The ports of the host that lead to the machine."""
        return [] if (self.directory / "no-forwards").exists() else self.settings["forwards"]

    @property
    def tftp_root(self):
        """What the firmware gets its loader from, by TFTP; without it a boot from the network begins with the kernel."""
        listed = self.directory / "tftp-root"
        return listed.read_text().strip() if self.boot_device == "Pxe" and listed.exists() else None

    @property
    def http_boot(self):
        """The URLs of the loader and of its script, and the program that tells the firmware the first of them, for the next boot only."""
        listed = self.directory / "http-boot"
        return json.loads(listed.read_text()) if self.boot_device == "Pxe" and listed.exists() else None

    @property
    def is_plugged_in(self):
        return (self.directory / "cable").exists()

    def disks(self):
        words, first = [], 0 if self.boot_device == "Hdd" else 5
        listed = self.directory / "absent-disks"
        absent = listed.read_text().split() if listed.exists() else []
        disks = [disk for disk in self.settings["disks"] if disk["bus"] not in absent]
        if any(disk["bus"] == "scsi" for disk in disks):
            words += ["-device", "virtio-scsi-pci"]
        sata = 0
        for number, disk in enumerate(disks):
            words += ["-drive", f"if=none,id=disk{number},file={option(disk['path'])},format=raw,cache=unsafe,"
                                "discard=unmap,detect-zeroes=unmap"]
            place = ""
            if disk["bus"] == "sata":
                place, sata = f",bus=ide.{sata}", sata + 1
            words += ["-device", f"{DEVICES[disk['bus']]},drive=disk{number},serial={disk['serial']}{place},"
                                 f"bootindex={first + number}"]
        return words

    def network_boot(self):
        """Kernel file, ramdisk file and command line of the iPXE script for this machine."""
        root = Path(CONFIGURATION["http_root"])
        script = (root / "pxelinux.cfg" / self.settings["mac"].replace(":", "-")).read_text()
        label = re.search(r"^goto (\S+)", script, re.M)
        section = script[script.index(f":{label[1]}\n"):] if label else script

        def words_of(verb):
            line = re.search(rf"^{verb}\s+(.*?)(?: \|\| .*)?$", section, re.M)
            if not line:
                raise ValueError(f"the script has no line `{verb}`: {script}")
            return [word for word in line[1].split() if not word.startswith("--")]

        def file_of(url):
            return str(root / re.sub(r"^https?://[^/]+/", "", url))

        kernel, *parameters = words_of("kernel")
        line = " ".join(word.replace("${mac}", self.settings["mac"]) for word in parameters)
        extra = self.directory / "kernel-parameters"
        if extra.exists():
            line += " " + extra.read_text().strip()
        return file_of(kernel), file_of(words_of("initrd")[0]), line


class Driver(base.AbstractSystemsDriver):
    """What the emulator asks of its systems."""

    @classmethod
    def initialize(cls, _config, _logger):
        return cls

    def __init__(self):
        self.machines = {settings["uuid"]: Machine(settings) for settings in CONFIGURATION["machines"]}

    def machine(self, identity):
        if identity in self.machines:
            return self.machines[identity]
        for uuid, machine in self.machines.items():
            if machine.settings["name"] == identity:
                raise error.AliasAccessError(uuid)
        raise error.NotFound(f"there is no system {identity}")

    @property
    def driver(self):
        return "<qemu>"

    @property
    def systems(self):
        return list(self.machines)

    def uuid(self, identity):
        return self.machine(identity).settings["uuid"]

    def name(self, identity):
        return self.machine(identity).settings["name"]

    def get_power_state(self, identity):
        return "On" if self.machine(identity).is_on else "Off"

    def set_power_state(self, identity, state):
        machine = self.machine(identity)
        if state not in ("On", "ForceOn", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart"):
            raise error.NotSupportedError(f"power state {state}")
        if state not in ("On", "ForceOn"):
            machine.power_off()
        if state not in ("ForceOff", "GracefulShutdown"):
            machine.power_on()

    def get_boot_device(self, identity):
        return self.machine(identity).boot_device

    def set_boot_device(self, identity, boot_source):
        self.machine(identity).boot_device = boot_source

    def get_boot_mode(self, identity):
        return self.machine(identity).boot_mode

    def set_boot_mode(self, identity, boot_mode):
        self.machine(identity).boot_mode = boot_mode

    def get_secure_boot(self, identity):
        return False

    def set_secure_boot(self, identity, _secure):
        raise error.NotSupportedError("secure boot")

    def get_boot_image(self, identity, device):
        image = self.machine(identity).media.get(device)
        return image, True, bool(image)

    def set_boot_image(self, identity, device, boot_image=None, write_protected=True):
        machine = self.machine(identity)
        machine.media[device] = None
        if boot_image:
            # The emulator removes its own file when the media is ejected.
            machine.media[device] = str(shutil.copy(boot_image, machine.directory / f"media-{device}"))

    def get_nics(self, identity):
        mac = self.machine(identity).settings["mac"]
        return [{"id": mac, "mac": mac}]

    def get_total_memory(self, identity):
        return max(1, self.machine(identity).settings["memory"] // 1024)

    def get_total_cpus(self, identity):
        return self.machine(identity).settings["processors"]

    def get_processors(self, _identity):
        return []

    def get_simple_storage_collection(self, _identity):
        return {}


def main():
    # The emulator chooses among its own drivers; ours takes the place of its fake one.
    fakedriver.FakeDriver = Driver
    emulator.app.configure(extra_config={"SUSHY_EMULATOR_FAKE_DRIVER": True})
    machines = emulator.app.systems.machines.values()

    def stop(*_):
        for machine in machines:
            machine.power_off()
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    emulator.app.run(host="0.0.0.0", port=CONFIGURATION["port"], threaded=True)


if __name__ == "__main__":
    main()
