"""Ramdisks other than the one that was built: with something added, or damaged."""

import gzip
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

from . import places
from .process import Service, wait_for
from .content import Archive, compress

CONSOLE = places.RUN / "guest-console.log"


def with_hook(name, script):
    """The ramdisk with a script appended that its init runs."""
    return with_files(f"with-{name}", {f"etc/ramdisk.d/{name}": script.encode()})


def with_files(name, files):
    """The ramdisk with files appended; contents by path, those below /usr are programs."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, content in files.items():
            place = Path(scratch) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o755 if path.startswith("usr/") else 0o644)
        extra = compress(Archive().pack(Path(scratch)), "gzip")
    return put(name, original() + extra)


def with_archive(name, archive):
    """The ramdisk with an archive behind it, as a loader puts a second initrd there: at the next multiple of four bytes."""
    first = original()
    return put(name, first + bytes(-len(first) % 4) + archive.read_bytes())


def after_line(pattern, command, seconds=400):
    """A hook: runs a command once, when the agent's log has a line with the pattern; says so when none comes."""
    return f"""rounds={seconds * 10}
until grep -q '{pattern}' /var/log/agent.log; do
    rounds=$((rounds - 1))
    [ $rounds -gt 0 ] || {{ echo "HOOK GAVE UP: no line with '{pattern}' in {seconds} s" >/dev/console; exit 1; }}
    usleep 100000
done
{command}
"""


def cut_off():
    """As a transfer leaves it that ended early."""
    return put("cut-off", original()[: len(original()) * 2 // 3])


def bit_flipped():
    """One bit of a kernel module's content is another."""
    content = bytearray(unpacked())
    content[content.index(b"ext4.ko.xz\0") + 100_000] ^= 0x10
    return put("bit-flipped", gzip.compress(bytes(content), 1))


def program_changed():
    """Bytes of the agent have changed places, so that a plain sum over them stays the same."""
    content = bytearray(unpacked())
    place = content.index(b"bin/ironic-agent\0") + 1_000_000
    while content[place] == content[place + 1]:
        place += 1
    content[place], content[place + 1] = content[place + 1], content[place]
    return put("program-changed", gzip.compress(bytes(content), 1))


DAMAGES = {"cut off": cut_off, "a bit flipped": bit_flipped, "a program changed": program_changed}


def unpacked():
    """The archives of the ramdisk: one that gzip compressed, and one that zstd did."""
    unpacker = zlib.decompressobj(31)
    first = unpacker.decompress(original())
    done = subprocess.run(["zstd", "-dc"], input=unpacker.unused_data, capture_output=True, check=True)
    return first + done.stdout


def original():
    return original_path().read_bytes()


def original_path():
    return places.RAMDISK / "initramfs"


def put(name, content):
    path = places.RUN / f"{name}.initramfs"
    path.write_bytes(content)
    return path


class Guest:
    """A machine without Ironic, with a console, and without disks unless `options` of the emulator give it some; a context.
    Without a ramdisk it boots what its disks have.

    With `ssh_port` it has a network, and its SSH server is at that port of loopback.
    """

    def __init__(self, initramfs=None, parameters="", ssh_port=None, devices=(), options=()):
        self.emulator = Service("the emulator", places.RUN / "guest-qemu.log")
        self.command = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512",
            "-display", "none", "-vga", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{CONSOLE}",
            *(word for device in devices for word in ("-device", device)), *options,
        ]
        if initramfs:
            self.command += ["-kernel", str(places.RAMDISK / "kernel"), "-initrd", str(initramfs),
                             "-append", f"console=ttyS0 quiet no_timer_check {parameters}".strip()]
        if ssh_port:
            self.command += ["-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{ssh_port}-:{places.SSH_PORT}",
                             "-device", "virtio-net-pci,netdev=net0,romfile="]

    def __enter__(self):
        CONSOLE.unlink(missing_ok=True)
        self.emulator.start(self.command)
        return self

    def __exit__(self, *_):
        self.emulator.stop()

    def said(self):
        return CONSOLE.read_text(errors="replace") if CONSOLE.exists() else ""

    def wait(self, phrase, seconds=240):
        """All that is on the console when a phrase is on it."""
        def found():
            self.emulator.check()
            text = self.said()
            return text if phrase in text else None

        return wait_for(f"`{phrase}` on the console", found, seconds, CONSOLE)


def console_of(initramfs, phrase, seconds, parameters="", longer=0.0):
    """Boots a machine without disks and network, until a phrase is on its console, and goes on for some seconds `longer`."""
    with Guest(initramfs, parameters) as guest:
        guest.wait(phrase, seconds)
        time.sleep(longer)
        guest.emulator.check()
        return guest.said()
