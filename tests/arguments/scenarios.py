"""What needs more than one program, or more than a file for a disk."""

import os
import pathlib
import re
import subprocess
import tempfile

# Until each of the writer's processes listens: a reader that finds some of them only takes these from the next one.
await_writer = (
    "for i in $(seq 600); do"
    " [ $(grep -cE ':23(2[89A-F]|3[0-7]) [0-9A-F:]+ 0A' $root/proc/net/tcp) -lt 16 ] || break; sleep 0.1; done; "
)
# Reads what a writer writes, as its partner does.
network_reader = (
    "(" + await_writer + "for i in $(seq 50); do sleep 0.2; env -i PATH=$path chroot $root fio --ioengine net --port 9000 --numjobs 16"
    " --name reader --rw read --hostname 127.0.0.1 --fill_device 1 > /dev/null 2>&1 && break; done) &"
)


def line_of(commands, program, *words):
    """The recorded command line that has these words."""
    for command in commands:
        if command.program == program and all(word in command.arguments for word in words):
            return command.words()
    return None


def network_pair(world, commands):
    """The writer and the reader of `burnin_network`, as they are called, both succeed."""
    writer, reader = line_of(commands, "fio", "--listen"), line_of(commands, "fio", "--hostname")
    if not writer or not reader:
        return ["no unit test calls both"]
    without = lambda words: words[: words.index("--output-format")] if "--output-format" in words else words  # noqa: E731
    writer = ["2" if word == "21600" else word for word in without(writer)]
    reader = ["127.0.0.1" if word == "other" else word for word in without(reader)]
    problems = []
    for attempt in range(3):
        beside = (
            "(" + await_writer + "for i in $(seq 50); do sleep 0.2; env -i PATH=$path chroot $root " + " ".join(reader)
            + " > $PLACE/reader 2>&1; status=$?; [ $status = 16 ] || break; done; echo $status > $PLACE/status) &"
        )
        result = world.run(writer, beside=beside, behind="wait")
        ended = result.files.get("status", b"?").decode().strip()
        if result.status != 0 or ended != "0":
            problems.append(f"attempt {attempt}: writer {result}; reader ended with {ended}")
    return problems


def boot_entries(world, commands):
    """`efibootmgr` reads, makes and removes entries in a file system of firmware variables."""
    listing, removal = line_of(commands, "efibootmgr", "-v"), line_of(commands, "efibootmgr", "-B")
    if not listing or not removal:
        return ["no unit test calls it so"]
    number = removal[removal.index("-b") + 1]
    entry = load_option("Debian", r"\EFI\debian\shimx64.efi")
    with tempfile.TemporaryDirectory() as place:
        variables = pathlib.Path(place) / "efivars"
        variables.mkdir()
        for name, value in ((f"Boot{number}", entry), ("BootOrder", bytes.fromhex(number)[::-1])):
            # Attributes first: kept, at boot and at run time.
            (variables / f"{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(b"\7\0\0\0" + value)
        prepare = f"mkdir -p $root/tmp/vars; mount --bind {variables} $root/tmp/vars"
        environment = {"EFIVARFS_PATH": "/tmp/vars/"}
        listed = world.run(["efibootmgr", "-v"], prepare=prepare, environment=environment)
        if listed.status != 0 or "Debian" not in listed.output:
            return [f"it does not list the entry: {listed}"]
        if r"shimx64.efi" not in listed.output:
            return [f"the path of the loader is not in the list that the agent reads: {listed}"]
        removed = world.run(removal, prepare=prepare, environment=environment)
        left = sorted(path.name for path in variables.iterdir())
        if removed.status != 0 or any(name.startswith(f"Boot{number}") for name in left):
            return [f"{' '.join(removal)} left {left}: {removed}"]
    return []


def load_option(label, path):
    """An EFI_LOAD_OPTION for a file on the first partition of a disk with a GPT."""
    hard_drive = b"\4\1\x2a\0" + (1).to_bytes(4, "little") + (2048).to_bytes(8, "little") + (2048).to_bytes(8, "little")
    hard_drive += bytes(range(16)) + b"\2\2"
    name = path.encode("utf-16-le") + b"\0\0"
    file = b"\4\4" + (4 + len(name)).to_bytes(2, "little") + name
    nodes = hard_drive + file + b"\x7f\xff\4\0"
    return (1).to_bytes(4, "little") + len(nodes).to_bytes(2, "little") + label.encode("utf-16-le") + b"\0\0" + nodes


def disk_burn_in(world, commands):
    """`burnin_disk`, as it is called, writes and verifies a block device (root only: a loop device)."""
    line = line_of(commands, "fio", "libaio")
    if not line:
        return ["no unit test calls it so"]
    if os.geteuid() != 0 or not pathlib.Path("/dev/loop-control").exists():
        print("SKIPPED disk_burn_in: it needs root and loop devices")
        return ["it is not skipped in CI"] if os.environ.get("CI") else []
    line = line[: line.index("--name")]
    with tempfile.TemporaryDirectory() as place:
        image = pathlib.Path(place) / "disk"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        device = subprocess.run(
            ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=True
        ).stdout.strip()
        try:
            # Not in a namespace of users, where nobody may open a device.
            script = "\n".join([
                f"root={world.root}", "mount -t tmpfs none $root/dev",
                "mkdir $root/dev/shm; mount -t tmpfs none $root/tmp",
                f": > $root{device}; mount --bind {device} $root{device}",
                f"exec env -i PATH={os.environ['PATH']} HOME=/tmp "
                # It leaves a file where it is.
                f"chroot $root sh -c 'cd /tmp && exec {' '.join(line)} --name {device}' < /dev/null 2>&1",
            ])
            done = subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/bash", "-ec", script],
                capture_output=True, text=True, timeout=120,
            )
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
    written = re.search(r"issued rwts: total=(\d+),(\d+)", done.stdout)
    if done.returncode != 0 or not written or "0" in written.groups():
        return [f"status {done.returncode}: {done.stdout[-800:]} {done.stderr[-300:]}"]
    return []


ALL = (network_pair, boot_entries, disk_burn_in)
