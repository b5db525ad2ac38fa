"""Ironic's other ways to machines: power by IPMI, and a boot that the machine's firmware does by itself."""

import json
import shutil
from pathlib import Path

from .. import places, setup
from ..process import Service, wait_for
from .base import Scenario, expect


class Ipmi(Scenario):
    """The power of the machine is IPMI's: Ironic runs ipmitool against an emulated BMC."""

    title = "inspection and deployment with power by IPMI"
    images = ("whole-disk.raw",)
    packages = ("ipmitool",)
    requirements = ("pyghmi==1.6.19",)
    USER, PASSWORD = "lab", "ipmi-of-the-lab"
    REDFISH = {"driver": "redfish", "power_interface": "redfish", "management_interface": "redfish"}
    IPMI = {"driver": "ipmi", "power_interface": "ipmitool", "management_interface": "ipmitool"}

    def run(self):
        self.ready("manageable")
        self.bmc = Service("the IPMI BMC", places.RUN / "ipmi-bmc.log")
        program, system = Path(__file__).parents[1] / "ipmi_bmc.py", f"{places.BMC_URL}/redfish/v1/Systems/{self.machine.uuid}"
        self.bmc.start([str(places.VENV_MORE / "bin/python"), str(program), system, str(places.IPMI_PORT), self.USER, self.PASSWORD])
        with self.step("manage: Ironic reaches the BMC by IPMI"):
            wait_for("the IPMI BMC", self.is_up, 60, self.bmc.log)
            # The emulator has the one cipher suite that all BMCs have.
            self.node.set(**self.IPMI, driver_info__ipmi_address="127.0.0.1", driver_info__ipmi_port=str(places.IPMI_PORT),
                          driver_info__ipmi_username=self.USER, driver_info__ipmi_password=self.PASSWORD, driver_info__ipmi_cipher_suite="3")
        with self.step("inspect: the agent comes, after IPMI has turned the machine on"):
            self.operation("inspect", "inspect")
        with self.step("active: the agent writes the image"):
            self.node.do("provide", 120)
            mark = self.deploy(self.image, self.machine.target)
            self.check_no_restart(mark)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark)
        with self.step("it was IPMI that did it"):
            said = self.bmc.log.read_text()
            for line in ("power: On", "boot device: network", "boot device: hd"):
                expect(line in said, f"the BMC never did `{line}`", self.bmc.log, places.RUN / "ironic.log")

    def is_up(self):
        self.bmc.check()
        return "ready" in self.bmc.log.read_text()

    def tidy(self):
        self.recover()
        self.node.set(**self.REDFISH)
        self.bmc.stop()


class FirmwareBoot(Scenario):
    """A boot from the network that begins with the firmware."""

    def inspect(self, boot_interface):
        """What the console says meanwhile."""
        begin = self.console_log.stat().st_size if self.console_log.exists() else 0
        with self.step("inspect: the agent comes"):
            self.node.set(boot_interface=boot_interface)
            self.operation("inspect", "inspect")
        with open(self.console_log, "rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def tidy(self):
        self.node.set(boot_interface="ipxe")


class GrubPxe(FirmwareBoot):
    """The boot interface `pxe`: firmware fetches Debian's signed shim and GRUB by TFTP, and GRUB what Ironic's menu names."""

    title = "inspection by PXE with GRUB: firmware, shim and GRUB fetch everything by TFTP"
    packages = ("shim-signed", "grub-efi-amd64-signed")
    FILES = {"bootx64.efi": "usr/lib/shim/shimx64.efi.signed", "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"}

    def run(self):
        self.ready("manageable")
        tftp = places.RUN / "state/tftp"
        for name, source in self.FILES.items():
            shutil.copy(setup.programs() / "root" / source, tftp / name)
        # Ironic's first menu names the second one by its path on the conductor, which servers map to theirs.
        mapped = tftp / str(tftp).lstrip("/")
        mapped.parent.mkdir(parents=True, exist_ok=True)
        mapped.symlink_to(tftp)
        (self.machine.directory / "tftp-root").write_text(f"{tftp}\n")
        said = self.inspect("pxe")
        with self.step("inspect: the firmware has started it from the network"):
            expect("UEFI PXEv4" in said and "bootx64.efi" in said, "the console does not say it", self.console_log)
            expect("Booting from" in said, "GRUB did not read Ironic's first menu", self.console_log)

    def tidy(self):
        (self.machine.directory / "tftp-root").unlink(missing_ok=True)
        super().tidy()


class HttpBoot(FirmwareBoot):
    """The boot interface `http-ipxe`: firmware fetches iPXE by HTTP, and iPXE itself follows Ironic's scripts."""

    title = "inspection by HTTP boot: firmware fetches iPXE, and iPXE what Ironic's scripts name"
    packages = ("ipxe",)
    requirements = ("virt-firmware==26.10",)
    LOADER = "snponly.efi"

    def run(self):
        self.ready("manageable")
        shutil.copy(setup.programs() / "root/usr/lib/ipxe" / self.LOADER, places.RUN / "http" / self.LOADER)
        # A DHCP server that knows UEFI's HTTP boot names the loader to firmware and the script to iPXE; QEMU's knows one name.
        (self.machine.directory / "http-boot").write_text(json.dumps({
            "program": str(places.VENV_MORE / "bin/virt-fw-vars"),
            "loader": f"{places.IMAGES_URL}/{self.LOADER}", "script": f"{places.IMAGES_URL}/boot.ipxe",
        }))
        said = self.inspect("http-ipxe")
        with self.step("inspect: the firmware has started iPXE by HTTP, and iPXE the ramdisk"):
            expect(self.LOADER in said, "the firmware did not fetch the loader", self.console_log)
            expect("iPXE" in said and "boot.ipxe" in said, "iPXE did not fetch Ironic's first script", self.console_log)

    def tidy(self):
        (self.machine.directory / "http-boot").unlink(missing_ok=True)
        super().tidy()
