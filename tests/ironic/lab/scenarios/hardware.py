"""Cleaning, software RAID, inspection, rescue, service: what is done to machines beside deploying."""

import json
import re
from base64 import b64encode

from .. import agent, disks, mbr, places, ramdisk, ssh, superblocks, switch
from ..errors import LabError
from ..ironic import ACCELERATOR, HOOKS, call
from ..report import Skip
from .base import CONFIG_DRIVE, MIB, Scenario, expect


def clean_steps(*names):
    """Steps as the API wants them, from `interface.step` or (`interface.step`, args)."""
    return steps_of("clean_steps", *names)


def steps_of(kind, *names):
    found = []
    for name in names:
        name, arguments = name if isinstance(name, tuple) else (name, None)
        interface, _, step = name.partition(".")
        found.append({"interface": interface, "step": step, **({"args": arguments} if arguments else {})})
    return {kind: found}


class Erase(Scenario):
    """Manual cleaning of disks of four kinds: everything that was on them is gone."""

    title = "all data of a virtio, an NVMe, a SATA and a SCSI disk are erased"
    MACHINE = "mixed"

    def run(self):
        self.ready("manageable")
        for disk in self.machine.disks:
            disks.scatter(disk.path)
        with self.step("clean: the agent erases all disks"):
            before = len(self.node.said)
            self.operation("erase", "clean", **clean_steps("deploy.erase_devices"))
        with self.step("clean: Ironic showed how far it was"):
            self.check_said(r"erase /dev/.*: \d+ % \(.* of .*\)", since=before)
        with self.step("clean: no byte is left"):
            for disk in self.machine.disks:
                place = disks.first_data(disk.path)
                expect(place is None, f"{disk.path.name} has something at byte {place}", self.console_log)


class Raid(Scenario):
    """An array over virtio and NVMe is made, gets a system, which boots, and is deleted; so are the superblocks of
    arrays whose other members are elsewhere."""

    title = "a RAID 1 over a virtio and an NVMe disk"
    MACHINE = "mixed"
    images = ("roomy-zstd.qcow2",)
    MEMBERS = ("virtio", "nvme")
    ERASE = "deploy.erase_devices"

    def run(self):
        self.ready("manageable")
        members = [self.machine.disk(bus) for bus in self.MEMBERS]
        with self.step("clean: the agent deletes old arrays, erases the disks and makes the new array"):
            call("PUT", f"{self.node.path}/states/raid", {"logical_disks": [{
                "size_gb": "MAX", "raid_level": "1", "controller": "software", "is_root_volume": True,
                "physical_disks": [{"serial": disk.serial} for disk in members],
            }]})
            self.operation("raid", "clean", **clean_steps(
                "raid.delete_configuration", self.ERASE, "raid.create_configuration"))
        with self.step("clean: both members carry the array's superblock, the other disks nothing"):
            for disk in self.machine.disks:
                arrays = [disks.md_array(disk.path, partition) for partition in self.layout(disk)] if disk in members else []
                expect((disk in members) == any(arrays), f"{disk.path.name}: {arrays}", self.console_log)
            names = {next(filter(None, (disks.md_array(disk.path, part) for part in self.layout(disk)))) for disk in members}
            expect(len(names) == 1, f"the members belong to different arrays: {names}")
        with self.step("active: the agent writes the image to the array"):
            self.node.do("provide", 60)
            self.request(self.image, members[0])
            self.node.set(properties__root_device={"name": "/dev/md0"})
            mark = self.operation("deploy", "active", configdrive=CONFIG_DRIVE)
            self.check_no_restart(mark)
        with self.step("active: the deployed system boots and finds its root on the array"):
            said = self.check_started(mark, members)
            expect("/dev/md" in said["root"], f"root: {said['root']}", self.console_log)
        with self.step("clean: the agent deletes the array"):
            self.node.do("deleted", 120)
            self.node.do("manage", 60)
            others = self.put_superblocks_of_others()
            self.operation("raid", "clean", **clean_steps("raid.delete_configuration"))
        with self.step("clean: no superblock is left"):
            for disk in members:
                expect(not disks.tables(disk.path), f"{disk.path.name} has {disks.tables(disk.path)}", self.console_log)
            for place in others:
                left = superblocks.left(*place)
                expect(not left, f"{place[0].name} at byte {place[1]} has the superblock of {left}", self.console_log)

    def put_superblocks_of_others(self):
        """Makes members of arrays that cannot run of the disks that are in none; where they are (disk, start, size)."""
        moved, former = self.machine.disk("sata"), self.machine.disk("scsi")
        start = length = 64 * MIB
        mbr.write(former.path, former.size, [(mbr.LINUX, start, length, False)])
        superblocks.linux_0_90(former.path, start, length)
        superblocks.imsm(former.path, former.serial)
        superblocks.linux_1_2(moved.path)
        found = [(moved.path, 0, moved.size), (former.path, start, length), (former.path, 0, former.size)]
        names = [superblocks.left(*place) for place in found]
        expect(names == [["1.2"], ["0.90"], ["IMSM"]], f"the disks have {names}")
        return found

    def layout(self, disk):
        return self.partitions(disk.path)

    def check_started(self, mark, _members):
        return self.check_boots(mark, entry="RAID")

    def tidy(self):
        self.node.remove("properties__root_device")


class BiosRaid(Raid):
    """The same on a machine with a BIOS: the image's GRUB gets onto each disk, the operator allows that.
    Ironic has no image service here and knows no root file system: it is that of the first partition."""

    title = "a RAID 1 on a BIOS machine, with the GRUB of the image"
    MACHINE = "bios"
    images = ("bios-disk.raw",)
    MEMBERS = ("sata", "virtio")
    ERASE = "deploy.erase_devices_metadata"

    def ready(self, goal="available"):
        super().ready(goal)
        self.kernel_parameters("ipa-enable-bios-bootloader-install=1")

    def put_superblocks_of_others(self):
        return []  # both disks are in the array

    def layout(self, disk):
        return self.mbr_partitions(disk.path)

    def check_started(self, mark, members):
        for disk in members:
            expect(b"GRUB" in disks.boot_code(disk.path), f"{disk.path.name} does not start GRUB", self.console_log)
        return self.check_boots(mark, loader="grub")


class MediaInspection(Scenario):
    """Inspection over virtual media, with every hook that Ironic has, before and after a disk is added."""

    title = "inspection over virtual media: sixteen hooks, and what each makes of it"
    MACHINE = "mixed"
    images = ("media-loader.raw",)
    COLLECTORS = "default,pci-devices,usb-devices,dmi-decode,numa-topology,lldp,extra-hardware,logs"
    NEW = "scsi"
    # What the program of that name prints on a real machine, much shortened.
    DETECTED = [["system", "product", "name", "Laboratory"], ["cpu", "logical", "number", "2"]]

    def run(self):
        self.ready("manageable")
        with self.step("inspect: the machine boots the ISO that Ironic made"):
            detect = f"#!/bin/sh\necho '{json.dumps(self.DETECTED)}'\n"
            made = ramdisk.with_files("with-hardware-detect", {"usr/bin/hardware-detect": detect.encode()})
            self.node.remove("properties__root_device")
            self.node.set(boot_interface="redfish-virtual-media", driver_info__deploy_ramdisk=f"file://{made}",
                          driver_info__kernel_append_params=f"%default% ipa-inspection-collectors={self.COLLECTORS}")
            self.inspect(without=self.NEW)
        with self.step("inspect: the hooks ran, and the node has what they learnt"):
            self.check_node()
        with self.step("inspect: the port knows its switch and its network"):
            self.check_port()
        with self.step("inspect: what the agent collected"):
            self.check_collected()
        with self.step("inspect: a disk that is new becomes the root device"):
            self.inspect()
            found = self.node.get()["properties"].get("root_device")
            expect(found == {"serial": self.machine.disk(self.NEW).serial}, f"root_device: {found}", *self.node.logs)
            root = self.collected()["root_disk"]
            expect(root["serial"] == found["serial"], f"root_disk: {root}", *self.node.logs)

    def inspect(self, without=""):
        (self.machine.directory / "absent-disks").write_text(without)
        with switch.Switch(self.machine):
            mark = self.operation("inspect", "inspect")
        boots = [event.line for event in self.console.events[mark:] if event.kind == "power_on"]
        expect(len(boots) == 1 and boots[0].endswith("Cd"), f"the machine was started {boots}", self.console_log)

    def collected(self):
        return call("GET", f"{self.node.path}/inventory")["plugin_data"]

    def check_node(self):
        node = self.node.get()
        log = (places.RUN / "ironic.log").read_text(errors="replace")
        ran = set(re.findall(rf"Running inspection hook (\S+) for node {self.node.uuid}", log))
        expect(ran == set(HOOKS.split(",")), f"hooks that did not run: {set(HOOKS.split(',')) - ran}", *self.node.logs)
        properties = node["properties"]
        expect(str(properties.get("cpus")) == str(self.machine.PROCESSORS), f"properties: {properties}")
        expect(str(properties.get("memory_mb")) == str(self.machine.MEMORY_MIB), f"properties: {properties}")
        expect(properties.get("cpu_arch") == "x86_64", f"properties: {properties}")
        capabilities = dict(pair.split(":", 1) for pair in properties.get("capabilities", "").split(","))
        for name, value in (("boot_mode", "uefi"), ("cpu_hugepages", "true"), ("cpu_aes", "true"), ("lab-disk", "1")):
            expect(capabilities.get(name) == value, f"{name} is not {value}: {capabilities}", *self.node.logs)
        accelerators = [each["device_info"] for each in properties.get("accelerators", [])]
        expect(accelerators == [ACCELERATOR], f"accelerators: {properties}", *self.node.logs)
        expect("root_device" not in properties, f"a root device from one inspection: {properties}")
        expect(not node["last_error"], f"last error: {node['last_error']}")

    def check_port(self):
        ports = self.node.ports()
        expect([port["address"] for port in ports] == [self.machine.mac], f"ports: {ports}")
        link = ports[0]["local_link_connection"]
        expect(link == {"switch_id": switch.ADDRESS, "port_id": switch.PORT, "switch_info": switch.NAME}, f"the link: {link}",
               *self.node.logs)
        expect(ports[0]["physical_network"] == "lab-network", f"the network: {ports[0]}", *self.node.logs)

    def check_collected(self):
        data = self.collected()
        for key in ("root_disk", "pci_devices", "usb_devices", "dmi", "numa_topology", "lldp_raw"):
            expect(data.get(key) not in (None, ""), f"{key} is missing among {sorted(data)}")
        expect(any(device["vendor_id"] == "1af4" for device in data["pci_devices"]), "no virtio device on the PCI bus")
        expect(len(data["numa_topology"]["cpus"]) >= 1, f"NUMA: {data['numa_topology']}")
        expect(data.get("extra") == {"system": {"product": {"name": "Laboratory"}}, "cpu": {"logical": {"number": 2}}},
               f"extra hardware: {data.get('extra')}", *self.node.logs)
        heard = [each.get("switch_system_name") for each in data.get("parsed_lldp", {}).values()]
        expect(heard == [switch.NAME], f"LLDP: {data.get('parsed_lldp')} of {data.get('lldp_raw')}", *self.node.logs)

    def tidy(self):
        (self.machine.directory / "absent-disks").unlink(missing_ok=True)
        self.node.set(boot_interface="ipxe", driver_info__deploy_ramdisk=f"file://{places.RAMDISK / 'initramfs'}")
        for name in ("driver_info__kernel_append_params", "properties__root_device"):
            self.node.remove(name)
        # Without BOOTIF on the command line no port was known to be the one to boot from.
        for port in self.node.ports():
            call("PATCH", f"/v1/ports/{port['uuid']}", [{"op": "add", "path": "/pxe_enabled", "value": True}])


class FastTrack(Scenario):
    """After cleaning the agent stays up, and the deployment needs no boot of the ramdisk."""

    title = "fast track: cleaning and deployment in one boot, to the disk that the hints name among four"
    MACHINE = "mixed"
    images = ("whole-disk.raw",)

    def run(self):
        self.ready("manageable")
        disk = self.machine.disk("scsi")
        with self.step("clean: the agent stays"):
            self.node.set(driver_info__fast_track=True)
            self.operation("clean", "clean", **clean_steps("deploy.erase_devices_metadata"))
            expect(self.node.get()["power_state"] == "power on", "the machine was turned off", self.console_log)
        with self.step("active: the agent that is up writes the image"):
            self.node.do("provide", 120)
            self.request(self.image, disk)
            self.node.set(properties__root_device={"size": "< 1", "model": "<in> QEMU HARDDISK", "rotational": "true"})
            mark = self.operation("deploy", "active", configdrive=CONFIG_DRIVE)
            boots = [event.line for event in self.console.events[mark:] if event.kind == "power_on"]
            expect(len(boots) == 1 and boots[0].endswith("Hdd"), f"the machine was started {boots}", self.console_log)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark)
        with self.step("active: the image is on the disk that the hints mean, and only there"):
            self.check_whole_disk(self.image, disk)

    def tidy(self):
        self.node.remove("driver_info__fast_track")


class Rescue(Scenario):
    """An operator gets into the ramdisk beside a deployed system, and the system comes back afterwards."""

    title = "rescue and unrescue"
    MACHINE = "bios"
    images = ("bios-disk.raw",)
    PASSWORD = "correct horse 7 battery"

    def run(self):
        self.active("grub")
        with self.step("rescue: the ramdisk boots and takes the password"):
            self.operation("rescue", "rescue", rescue_password=self.PASSWORD)
        with self.step("rescue: the operator can log in with it, and with no other"):
            said = ssh.run_in_guest(self.machine.address, "rescue", self.PASSWORD, "test -e /etc/.rescued && id -u; cat /proc/partitions")
            words = said.split()
            expect(words[:1] == ["0"], f"the operator is not root, or the agent left no marker: {said}", self.console_log)
            expect("sda1" in words, f"no disk to rescue: {said}", self.console_log)
            greeting = ssh.run_in_guest(self.machine.address, "rescue", self.PASSWORD, "cat /etc/motd")
            expect("mdadm" in greeting and "btrfs" in greeting and "Not in it:" in greeting and "lsblk" in greeting,
                   f"the greeting does not say what there is: {greeting}")
            expect(ssh.run_in_guest(self.machine.address, "rescue", "wrong", "id", may_fail=True) is None, "any password lets one in")
        with self.step("rescue: the agent serves nobody any more"):
            expect(not ssh.is_open(self.machine.address, places.AGENT_PORT), "its port is open", self.console_log)
        with self.step("unrescue: the system boots again"):
            self.check_boots(self.operation("unrescue", "unrescue"), loader="grub")


class Service(Scenario):
    """A step on a machine in use: a file is put into its root file system."""

    title = "a service step changes a file of a deployed system"
    MACHINE = "bios"
    images = ("bios-disk.raw",)
    TEXT = "put here by a service step\n"

    def run(self):
        disk = self.machine.target
        self.active("grub")
        with self.step("service: the agent injects a file"):
            file = {"path": "/etc/injected", "content": b64encode(self.TEXT.encode()).decode(), "partition": 1, "mode": 0o640}
            mark = self.operation("service", "service", **steps_of("service_steps", ("deploy.inject_files", {"files": [file]})))
        with self.step("service: the system boots again"):
            self.check_boots(mark, loader="grub")
        with self.step("service: the file is there"):
            text = disks.file_of_partition(disk.path, self.mbr_partitions(disk.path)[0], "/etc/injected")
            expect(text == self.TEXT, f"it says {text!r}", self.console_log)


class Plugin(Scenario):
    """Steps of a third party's program in the ramdisk; and it dies in the middle of one."""

    title = "a hardware manager of a third party: its steps work, its death is a failed step"
    MACHINE = "bios"
    NAME = "example-manager"
    PHASE = "phase=flash "
    # Kills the program once, as soon as it reports progress of the long step.
    HOOK = ramdisk.after_line(PHASE, f"kill -9 $(pidof {NAME})")

    def run(self):
        self.ready("manageable")
        with self.step("the node gets a ramdisk with the program"):
            if not places.HARDWARE_MANAGER.is_file():
                raise Skip(f"there is no {places.HARDWARE_MANAGER}; `make ironic` builds it")
            made = ramdisk.with_files("with-manager", {
                f"usr/lib/ironic-agent/hardware-managers/{self.NAME}": places.HARDWARE_MANAGER.read_bytes(),
                "etc/ramdisk.d/kill.sh": self.HOOK.encode(),
            })
            self.node.set(driver_info__deploy_ramdisk=f"file://{made}")
        with self.step("clean: a step of the program is listed and done, and the agent stays"):
            self.node.set(driver_info__fast_track=True)
            self.operation("third party", "clean", **clean_steps(("deploy.example_check_memory", {"minimum_mib": 64})))
            before = agent.status(self.machine.address)
        with self.step("clean: the program is killed, the step fails and says why"):
            mark = self.console.mark()
            try:
                self.operation("third party", "clean", **clean_steps(
                    ("deploy.example_update_firmware", {"version": "7", "blocks": 30000})))
            except LabError as error:
                expect("clean failed" in str(error) and "signal" in str(error).lower(), f"unexpected: {error}", *error.logs)
            else:
                raise LabError(f"the step succeeded: its program is killed when the log has `{self.PHASE}`, which it never had", self.console_log)
        with self.step("clean: the agent was not hurt, and serves on"):
            self.check_no_restart(mark)
            boots = [event.line for event in self.console.events[mark:] if event.kind == "power_on"]
            expect(not boots, f"the machine was started {boots}", self.console_log)
            said = agent.status(self.machine.address)
            expect(said.get("version") and said["started_at"] == before["started_at"],
                   f"the agent says {said}, and before {before}", self.console_log)
        with self.step("clean: the next step of the program is done"):
            # With a failed cleaning Ironic forgets the agent's URL and token, and boots another one whatever was asked for.
            self.node.remove("driver_info__fast_track")
            self.recover()
            self.operation("third party", "clean", **clean_steps(("deploy.example_check_memory", {"minimum_mib": 64})))

    def tidy(self):
        self.node.remove("driver_info__fast_track")
        self.node.set(driver_info__deploy_ramdisk=f"file://{places.RAMDISK / 'initramfs'}")
