"""Every program that the agent starts, where Debian has it, and what it must say in a world
without hardware.

`works` means that the program does what it is asked, on a file in the place of a disk.
`refuses` means that it read its arguments and then found that there is no such device: the text
is what only then is said. The suite proves that by adding an option that the program cannot
know: what it says then must be something else.
"""

import re
from dataclasses import dataclass, field

# Said of arguments that a program does not understand.
USAGE = re.compile(
    r"unrecogni[sz]ed option|invalid option|unknown option|bad option|illegal option|unknown command|"
    r"unknown argument|unknown flag|unknown shorthand|invalid argument '|try '.* --help'|requires an argument|no such option",
    re.IGNORECASE,
)
# No program knows it.
NONSENSE = "--no-such-option-of-any-program"


@dataclass
class Try:
    """What command lines of a form must end in."""

    form: str
    refusal: str = ""
    prepare: str = ""
    # Values that would take days or all of the memory, and what stands for them here.
    replace: dict = field(default_factory=dict)
    # Statuses that are right here besides those that the agent accepts.
    accepted: tuple = ()
    # What an older version says, after which the agent does without.
    older: str = ""
    # Shell of the scenarios that runs at the same time.
    beside: str = ""
    # Whether nonsense among the options is noticed before the device is looked at.
    notices: bool = True

    def fits(self, line):
        return re.fullmatch(self.form, line)


def works(form, **more):
    return Try(form, **more)


def refuses(form, refusal, **more):
    return Try(form, refusal, **more)


@dataclass
class Program:
    name: str
    package: str = ""
    tries: tuple = ()
    # Why it is not tried, or where else it is.
    reason: str = ""


# What the ramdisk's lean tools say where a device is only a file.
NO_DEVICE = r"Inappropriate ioctl"
NO_MOUNT = (
    r"failed to setup loop device|can't find LABEL|wrong fs type|unknown filesystem type|No such device|"
    r"must be superuser|permission denied|Operation not permitted|cannot mount|bad superblock"
)
NO_CARD = r"Failed to open the device|Cannot open Device|Failed to identify|No such file or directory"
NO_ARRAY = (
    r"is not a block device|does not appear to be an md device|error opening|cannot open|No md superblock|"
    r"Unrecognised md component|not suitable|No arrays found|Couldn't open|Cannot find|not an md array|"
    r"must be super-user|No such file"
)
NO_NETWORK = r"no such host|dial (tcp|udp)|network is unreachable|server misbehaving|lookup .* on|short-name"
EFI_OFF = r"EFI variables are not supported|No such file or directory"

PROGRAMS = (
    Program("./gpu_burn", reason="Debian does not have it; it needs NVIDIA's driver"),
    Program("/usr/sbin/mpathconf", reason="Debian does not have it: it is RHEL's"),
    Program("blockdev", "util-linux", (refuses(r"blockdev --flushbufs \S+", NO_DEVICE),)),
    Program(
        "chronyc", "chrony",
        (refuses(r"chronyc shutdown", r"506 Cannot talk to daemon"),),
    ),
    Program(
        "chronyd", "chrony",
        (
            works(r"chronyd -h"),
            # It reads the whole line before it finds that it may not set the clock.
            refuses(r"chronyd -q server \S+ iburst", r"adjtimex|Operation not permitted|not permitted"),
        ),
    ),
    Program(
        "dhcpcd", "dhcpcd-base",
        (
            refuses(r"dhcpcd --background .*", r"interface not found"),
            refuses(r"dhcpcd --ipv4only --dumplease \S+", r"dhcpcd is not running|No such file|interface not found"),
        ),
    ),
    Program("df", "coreutils", (works(r"df -a"),)),
    Program("dmesg", "util-linux", (refuses(r"dmesg", r"\A\Z|Operation not permitted|Linux version|\["),)),
    Program("docker", reason="the words are podman's, and it needs its daemon even to parse most of them"),
    Program("dmidecode", "dmidecode", (refuses(r"dmidecode -t bios -t processor -t memory", r"/dev/mem"),)),
    Program(
        "efibootmgr", "efibootmgr",
        (
            works(r"efibootmgr --version"),
            # With firmware variables: `boot_entries`.
            refuses(r"efibootmgr .*", EFI_OFF),
        ),
    ),
    Program(
        "fio", "fio",
        (
            # A pair that works: `network_pair`.
            # Status 16 is what the agent takes for a partner that does not write yet.
            works(r"fio .* --rw read --hostname .*", replace={"other": "127.0.0.1"}, accepted=(16,)),
            works(r"fio .* --rw write .* --listen.*", replace={"21600": "2"}, beside="network_reader"),
            # On a disk: `disk_burn_in`, for root. A file has no size of its own.
            refuses(r"fio --rw readwrite .*", r"you need to specify size"),
        ),
    ),
    Program("getenforce", "selinux-utils", (works(r"getenforce", notices=False),)),
    Program("hardware-detect", reason="Debian does not have it: it comes with the Python package hardware"),
    Program("hdparm", "hdparm", (
        # It says no more of a file.
        refuses(r"hdparm -I \S+", r"\A\s*/dev/\w+:\s*\Z"),
        refuses(r"hdparm .*", NO_DEVICE),
    )),
    Program(
        "hwclock", "util-linux-extra",
        (refuses(r"hwclock -v --systohc", r"Cannot access the Hardware Clock|can't open '/dev"),),
    ),
    Program(
        "ip", "iproute2",
        (
            works(r"ip addr", notices=False),
            refuses(r"ip link set .*", r"Cannot find device|can't find device|No such device|Device does not exist"),
            refuses(r"ip link add name \S+ type bond", r"\A\Z|Unknown device type|not supported|File exists|Cannot find device"),
            refuses(r"ip addr add \S+ dev \S+", r"Cannot find device|can't find device"),
            refuses(r"ip -[46] route replace .*", r"Cannot find device|can't find device"),
            refuses(r"ip link add link \S+ name \S+ type vlan id \d+", r"Cannot find device|can't find device|No such device|Device does not exist"),
        ),
    ),
    Program("iptables", "iptables", (
        # Which of its two programs has the name is for the installation to say.
        refuses(r"iptables -L", r"Chain INPUT|initialize iptables table", replace={"iptables": "iptables-legacy"}),
    )),
    Program("iscsistart", "open-iscsi", (refuses(r"iscsistart -[bf]", r"ibft|iBFT|firmware|OpenFirmware|boot|open"),)),
    Program("journalctl", "systemd", (works(r"journalctl .*"),)),
    Program("kexec", "kexec-tools", (
        # It reads the whole line, then the kernel (here a directory), and then asks the system, which an ordinary user may not.
        refuses(r"kexec --kexec-file-syscall --load .*", r"Cannot read|Cannot determine the file type|Failed to open file|not permitted"),
        # It takes the interfaces of its network namespace down first, which here is empty.
        refuses(r"kexec --exec", r"kexec failed|[Nn]othing has been loaded|not permitted"),
    )),
    Program("kpartx", "kpartx", (refuses(r"kpartx .*", r"/dev/mapper/control|device-mapper|failed to stat|not a block"),)),
    Program("lsblk", "util-linux", (works(r"lsblk .*"),)),
    Program("lshw", "lshw", (works(r"lshw -quiet -json"),)),
    Program("lspci", "pciutils", (works(r"lspci .*"),)),
    Program("mdadm", "mdadm", (
        works(r"mdadm --examine --scan", notices=True),
        refuses(r"mdadm .*", NO_ARRAY),
    )),
    Program("mkfs.btrfs", "btrfs-progs", (works(r"mkfs\.btrfs .*"),)),
    Program("mkfs.ext2", "e2fsprogs", (works(r"mkfs\.ext2 .*"),)),
    Program("mkfs.ext3", "e2fsprogs", (works(r"mkfs\.ext3 .*"),)),
    Program("mkfs.ext4", "e2fsprogs", (works(r"mkfs\.ext4 .*"),)),
    Program("mkfs.f2fs", "f2fs-tools", (works(r"mkfs\.f2fs .*"),)),
    Program("mkfs.xfs", "xfsprogs", (works(r"mkfs\.xfs .*"),)),
    Program("modprobe", "kmod", (refuses(r"modprobe \S+( \S+=\S+)?", r"not found|could not open|can't|No such file"),)),
    Program("mount", "mount", (
        # A user namespace gets a sysfs only where nothing covers a part of the one above it (containers, CI): both are
        # right, an empty answer and the kernel's refusal.
        refuses(r"mount -t sysfs .*", r"\A\Z|permission denied|Operation not permitted"),
        works(r"mount -o bind /mnt/config .*"),
        refuses(r"mount -o bind .*", r"Not a directory|permission denied"),
        refuses(r"mount .*", NO_MOUNT),
    )),
    Program("mstconfig", "mstflint", (
        works(r"mstconfig -v"),
        refuses(r"mstconfig .*", NO_CARD, notices=False),
    )),
    Program("mstflint", "mstflint", (
        works(r"mstflint -v"),
        refuses(r"mstflint .*", NO_CARD + r"|No valid image found"),
    )),
    Program("mstfwreset", reason="Debian's package of mstflint is built without it"),
    Program("multipath", "multipath-tools", (refuses(r"multipath -ll", r"/dev/mapper/control|need to be root|DM multipath"),)),
    Program("multipathd", "multipath-tools", (works(r"multipathd"),)),
    Program("ntpdate", "ntpsec-ntpdate", (
        refuses(r"ntpdate .*", r"no eligible servers|no server suitable|Network is unreachable|Operation not permitted"),
    )),
    Program("nvme", "nvme-cli", (refuses(r"nvme .*", r"is not a block or character device|No such"),)),
    Program("parted", "parted", (works(r"parted -l"),)),
    Program("partx", "util-linux", (
        refuses(r"partx .*", r"loop device|failed to read partition table|error adding|specified range"),
    )),
    Program("podman", "podman", (
        works(r"podman --version"),
        # `an_older_podman_pulls_without_the_option_that_it_does_not_have`
        refuses(r"podman pull .*--retry-delay=5s .*", NO_NETWORK, older=r"unknown flag: --retry-delay"),
        refuses(r"podman pull .*", NO_NETWORK),
        refuses(r"podman (--log-level=debug )?run .*", NO_NETWORK + r"|image not known|no such file"),
        works(r"podman rm --force \S+"),
    )),
    Program("ps", "procps", (refuses(r"ps au", r"USER\s+PID|PID\s+USER"),)),
    Program("poweroff", reason="it would end the world it is tried in; every scenario of the laboratory that powers off runs it"),
    Program("reboot", reason="it would end the world it is tried in; the laboratory's machines reboot by it"),
    Program("sg_opcodes", "sg3-utils", (refuses(r"sg_opcodes .*", NO_DEVICE),)),
    Program("sg_sanitize", "sg3-utils", (refuses(r"sg_sanitize .*", NO_DEVICE),)),
    Program("sg_turs", "sg3-utils", (refuses(r"sg_turs .*", NO_DEVICE),)),
    Program("shred", "coreutils", (works(r"shred .*"),)),
    Program("smartctl", "smartmontools", (
        # Debian 12's tells nothing of an NVMe drive's self-test, with status 0: `burnin_disk` warns then.
        refuses(r"smartctl -t long /dev/nvme\S+", r"NVMe device successfully opened|Inappropriate ioctl|failed"),
        refuses(r"smartctl .*", r"Unable to detect device type|Inappropriate ioctl|failed"),
    )),
    Program("stress-ng", "stress-ng", (
        works(r"stress-ng .*", replace={"86400": "1", "2911": "1", "120": "1", "98%": "1%", "25%": "1%"}),
    )),
    Program("sync", "coreutils", (works(r"sync"),)),
    Program("umount", "mount", (refuses(r"umount .*", r"not mounted|Invalid argument|can't unmount"),)),
    Program("unshare", "util-linux", (works(r"unshare .*", notices=False),)),
    Program("wipefs", "util-linux", (works(r"wipefs .*"),)),
)
