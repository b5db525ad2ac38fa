"""The image path beside its peers: prints a Markdown table.

    image.py AGENT [--quick] [--python PYTHON] [--only IMAGE,...] [--tools TOOL,...]

As root. Makes an image of a disk (GPT, ext4 with files of this machine), its compressed and
qcow2 forms, serves them by nginx on loopback and writes them to a loop device with direct I/O:
ours verifies SHA-256 in every row. Each tool runs back to back, on a warm source; medians. CPU
time and memory are those of the tool's processes; what a peer stages in memory is added.

A second table tells what bounds ours: how long each stage takes alone, and how busy all cores
were during a run.
"""

import argparse
import array
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROOM = ROOT / "target/bench/image"
GIB = 1 << 30
SIZE = 4 * GIB
DISK = 21 * GIB
FILES = 1050 << 20
# A run that takes longer has failed; a tool that took so long is not run again.
LIMIT, ENOUGH, RUNS = 120, 25, 3
UNPACK = {"gz": "gzip -dc", "zst": "zstd -dcq", "xz": "xz -dc"}


def sh(command, **options):
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, **options)


def tree(room):
    """Files of this machine, up to a fixed size, in a fixed order."""
    room.mkdir()
    left = FILES
    for top in ("/usr/bin", "/usr/lib", "/usr/share"):
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                source = pathlib.Path(folder, name)
                if source.is_symlink() or not source.is_file():
                    continue
                size = source.stat().st_size
                if size > left or size > 64 << 20:
                    continue
                left -= size
                target = room / source.relative_to("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        if left < 1 << 20:
            break


def make_images(room):
    """The images by name; made once and kept."""
    raw = room / "disk.raw"
    steps = {
        "disk.raw.gz": f"gzip -6 -c {raw}",
        "disk.raw.zst": f"zstd -q -3 -T0 -c {raw}",
        # The dictionary of `xz -9` in a fraction of its time.
        "disk.raw.xz": f"xz -T0 --lzma2=preset=0,dict=64MiB -c {raw}",
    }
    qcow2 = "qemu-img convert -f raw -O qcow2"
    converts = {
        "plain.qcow2": f"{qcow2} {raw}",
        "zlib.qcow2": f"{qcow2} -c {raw}",
        "zstd.qcow2": f"{qcow2} -c -o compression_type=zstd {raw}",
    }
    if not raw.exists():
        print("making the images", file=sys.stderr)
        shutil.rmtree(room / "tree", ignore_errors=True)
        tree(room / "tree")
        part = room / "disk.part"
        part.unlink(missing_ok=True)
        sh(f"truncate -s {SIZE} {part} && sgdisk -n 1:2048:0 -t 1:8300 {part} && "
           f"mke2fs -q -t ext4 -d {room}/tree -E offset=1048576 {part} {(SIZE >> 10) - 2048}",
           stdout=subprocess.DEVNULL)
        part.rename(raw)
        shutil.rmtree(room / "tree")
    for name, command in steps.items():
        if not (room / name).exists():
            sh(f"{command} > {room}/part && mv {room}/part {room / name}")
    for name, command in converts.items():
        if not (room / name).exists():
            sh(f"{command} {room}/part && mv {room}/part {room / name}")
    lived = room / "lived.qcow2"
    if not lived.exists():
        # Written to at many places after it was made, so that its clusters are out of order.
        writes = []
        # Not at the very beginning, where the partition table is.
        for step in range(1, 601):
            offset = (step * 7919 * 65536) % (SIZE - (1 << 20)) // 65536 * 65536
            writes += ["-c", f"write -q -P {step % 250 + 1} {offset} {(step % 9 + 1) * 65536}"]
        shutil.copyfile(room / "plain.qcow2", room / "part")
        subprocess.run(["qemu-io", "-f", "qcow2", *writes, room / "part"], check=True)
        (room / "part").rename(lived)
    large = room / "large.qcow2"
    if not large.exists():
        # The same files on a disk five times as large.
        shutil.copyfile(room / "zlib.qcow2", room / "part")
        subprocess.run(["qemu-img", "resize", "-q", room / "part", "20G"], check=True)
        (room / "part").rename(large)
    if not (room / "scattered.qcow2").exists():
        scattered(room / "part")
        (room / "part").rename(room / "scattered.qcow2")
    if not (room / "disk.bmap").exists() and shutil.which("bmaptool"):
        sh(f"bmaptool create {raw} > {room}/part 2>/dev/null && mv {room}/part {room}/disk.bmap")
    kept = room / "digests.json"
    digests = json.loads(kept.read_text()) if kept.exists() else {}
    for image in [raw, *(room / name for name in [*steps, *converts]), lived, large,
                  room / "scattered.qcow2"]:
        if image.name not in digests:
            with open(image, "rb") as file:
                digests[image.name] = hashlib.file_digest(file, "sha256").hexdigest()
    kept.write_text(json.dumps(digests))
    return digests


def scattered(path):
    """The image whose map is the largest that is taken: its clusters have 512 bytes and lie in the
    opposite order, so that each is a piece of its own."""
    cluster, copied = 512, 1 << 63
    count = (800 << 20) // cluster
    tables = count // 64
    level_two, level_one = 1 + count, 1 + count + tables
    counts = level_one + tables * 8 // cluster + 1
    header = bytearray(cluster)
    header[:8] = b"QFI\xfb\0\0\0\2"
    struct.pack_into(">I", header, 20, 9)
    struct.pack_into(">Q", header, 24, count * cluster)
    struct.pack_into(">IQQI", header, 36, tables, level_one * cluster, counts * cluster, 1)
    boot = bytearray(512)
    boot[450], boot[510:] = 0x83, b"\x55\xaa"
    boot[454:462] = struct.pack("<II", 64, 64)

    def entries(places):
        values = array.array("Q", (place * cluster | copied for place in places))
        values.byteswap()
        return values.tobytes()

    noise = random.Random(1).randbytes(1 << 20)
    with open(path, "wb") as file:
        file.write(header)
        for _ in range(count * cluster >> 20):
            file.write(noise)
        file.seek(count * cluster)
        file.write(boot)
        file.write(entries(range(count, 0, -1)))
        file.write(entries(range(level_two, level_two + tables)))
        file.seek(counts * cluster)
        file.write(bytes(cluster))


class Server:
    """nginx on loopback, as a distribution configures it."""

    def __init__(self, room):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        configuration = room / "nginx.conf"
        configuration.write_text(f"""
user root; worker_processes 1; daemon off; pid {room}/nginx.pid; error_log stderr crit;
events {{}}
http {{
    # A Debian package that is unpacked without root has no directories below /var.
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    access_log off; sendfile on; server {{ listen 127.0.0.1:{self.port}; root {room}; }}
}}
""")
        self.process = subprocess.Popen(["nginx", "-c", configuration, "-p", room])
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("nginx does not answer")

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Loop:
    """A loop device with direct I/O on a file of its own."""

    def __init__(self, room):
        backing = room / "target.disk"
        backing.unlink(missing_ok=True)
        with open(backing, "wb") as file:
            file.truncate(DISK)
        self.path = subprocess.run(
            ["losetup", "--find", "--show", "--partscan", "--direct-io=on", backing],
            check=True, capture_output=True, text=True).stdout.strip()
        self.backing = backing

    def remove(self):
        subprocess.run(["losetup", "-d", self.path], check=False)
        self.backing.unlink(missing_ok=True)


# A small parent of its own for each run: what its only child used is what it reports.
PARENT = """
import resource, subprocess, sys, time
begin = time.monotonic()
with open(sys.argv[1], "wb") as output:
    status = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=output,
                            stderr=subprocess.STDOUT).returncode
seconds = time.monotonic() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(status, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(argv, staged):
    """Seconds, CPU seconds and MiB of one run, and what it printed."""
    log, peak, begin = ROOM / "log", 0, time.monotonic()
    os.sync()
    with subprocess.Popen([sys.executable, "-c", PARENT, log, *map(str, argv)], text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            while process.poll() is None:
                if time.monotonic() - begin > LIMIT:
                    return None, f"more than {LIMIT} s"
                if staged:
                    files = [file.stat().st_blocks * 512 for file in staged.glob("*")]
                    peak = max(peak, sum(files))
                time.sleep(0.02)
        finally:
            # However this ends, nothing goes on writing.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.stdout
        status, seconds, cpu, resident = map(float, process.stdout.read().split())
    output = log.read_text(errors="replace")
    if status:
        return None, f"status {status:.0f}: {output[-300:]}"
    for line in output.splitlines():
        # The Python agent is resident: its imports do not count.
        if line.startswith("seconds "):
            seconds = float(line.split()[1])
    return (seconds, cpu, resident + peak / (1 << 20)), output


def busy():
    """Seconds of all cores so far: those that worked, and all of them."""
    with open("/proc/stat") as file:
        ticks = [int(value) for value in file.readline().split()[1:9]]
    # The fourth and the fifth are those of idle cores.
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def alone(server, loop, name):
    """Seconds of each stage alone on a warm source: download, hash, unpacking, writing."""
    local, unpack = ROOM / name, UNPACK.get(name.rsplit(".")[-1])

    def timed(command):
        seconds = []
        for _ in range(RUNS):
            begin = time.monotonic()
            sh(command)
            seconds.append(time.monotonic() - begin)
        return statistics.median(seconds)

    yield "download", timed(f"curl -sf -o /dev/null {server.url(name)}")
    begin = time.monotonic()
    with open(local, "rb") as file:
        hashlib.file_digest(file, "sha256")
    yield "hash", time.monotonic() - begin
    if unpack:
        yield "unpack", timed(f"{unpack} {local} > /dev/null")
    yield "write", timed(f"qemu-img convert -f raw -O host_device -t none {ROOM}/disk.raw {loop.path}")


def tools(arguments, server, loop, digests, name, disk_format):
    """The ways to write an image: label, arguments, where it stages."""
    url, digest, device = server.url(name), digests[name], loop.path
    local = ROOM / name
    direct = f"dd of={device} bs=1M iflag=fullblock oflag=direct conv=fsync status=none"
    ways: list[tuple[str, list, pathlib.Path | None]] = [("ours", [arguments.agent, "write-image", "--url", url, "--sha256", digest,
                      "--disk-format", disk_format, "--device", device], None)]

    def shell(label, command):
        ways.append((label, ["bash", "-o", "pipefail", "-c", command], None))

    unpack = UNPACK.get(name.rsplit(".")[-1])
    if disk_format == "raw":
        middle = f"| {unpack} " if unpack else ""
        by = f"{unpack.split()[0]} → " if unpack else ""
        shell(f"curl → {by}dd", f"curl -sf {url} {middle}| {direct}")
        shell(f"curl → tee sha256sum → {by}dd",
              f"curl -sf {url} | tee >(sha256sum >/dev/null) {middle}| {direct}")
        if shutil.which("bmaptool"):
            ways.append(("bmaptool", ["bmaptool", "-q", "copy", "--bmap", ROOM / "disk.bmap", url,
                                      device], None))
        if arguments.coreos:
            # At its end it waits for udev, which need not run here: that costs nothing.
            ways.append(("coreos-installer", [
                "unshare", "--mount", "sh", "-c",
                "mount -t tmpfs none /run && mkdir /run/udev /run/bin && : > /run/udev/control && "
                'ln -s /bin/true /run/bin/udevadm && PATH=/run/bin:$PATH exec "$@"', "sh",
                arguments.coreos, "install", "--offline", "--insecure", "--image-url", url, device], None))
    else:
        ways.append(("qemu-img of a local file",
                     ["qemu-img", "convert", "-O", "host_device", "-t", "none", "-f", "qcow2",
                      local, device], None))
    if arguments.python and not unpack:
        staged = pathlib.Path("/dev/shm/ironic-agent-bench")
        ways.append(("Python agent", [arguments.python, HERE / "image_peer.py", device, url,
                                      digest, disk_format, staged], staged))
    return ways


def measure(arguments, server, loop, digests):
    images = [
        ("raw", "disk.raw", "raw", {"curl → dd": 2.5, "curl → tee sha256sum → dd": 4,
                                    "coreos-installer": 2.5, "bmaptool": 1.1, "Python agent": 3}),
        ("raw.zst", "disk.raw.zst", "raw", {"curl → zstd → dd": 2.5,
                                            "curl → tee sha256sum → zstd → dd": 3.3,
                                            "bmaptool": 3, "coreos-installer": 2.5}),
        ("raw.gz", "disk.raw.gz", "raw", {"curl → gzip → dd": 4,
                                          "curl → tee sha256sum → gzip → dd": 2.4,
                                          "bmaptool": 3, "coreos-installer": 3}),
        ("qcow2 plain", "plain.qcow2", "qcow2",
         {"Python agent": 3.2, "qemu-img of a local file": 1.3}),
        ("qcow2 zlib", "zlib.qcow2", "qcow2",
         {"Python agent": 3.2, "qemu-img of a local file": 3.2}),
        ("qcow2 zstd", "zstd.qcow2", "qcow2",
         {"Python agent": 3, "qemu-img of a local file": 3.2}),
        ("qcow2 lived-in", "lived.qcow2", "qcow2",
         {"Python agent": 3, "qemu-img of a local file": 1.3}),
        ("qcow2 zlib 20 GiB", "large.qcow2", "qcow2", {}),
        # What takes most memory: nobody else is asked for these, and the target is a file, as
        # a million and a half direct writes of a sector would take minutes.
        ("qcow2 scattered", "scattered.qcow2", "qcow2", None),
        ("raw.xz of `xz -9`", "disk.raw.xz", "raw", None),
    ]
    bounds = []
    print("| image | tool | s | CPU s | peak MiB | ours is faster | goal |")
    print("|---|---|---|---|---|---|---|")
    for label, name, disk_format, goals in images:
        if arguments.only and label not in arguments.only.split(","):
            continue
        ours = None
        for tool, argv, staged in tools(arguments, server, loop, digests, name, disk_format):
            if tool != "ours" and arguments.tools and tool not in arguments.tools.split(","):
                continue
            if goals is None:
                if tool != "ours":
                    continue
                plain = ROOM / "target.file"
                with open(plain, "wb") as file:
                    file.truncate(DISK)
                argv = [*argv[:-1], plain]
            sh(f"cat {ROOM / name} > /dev/null")
            runs, reason, before = [], "", busy()
            for _ in range(1 if arguments.quick else RUNS):
                figures, reason = run(argv, staged)
                if figures is None:
                    break
                runs.append(figures)
                if sum(seconds for seconds, *_ in runs) > ENOUGH:
                    break
            if not runs:
                print(f"| {label} | {tool} | – | – | – | – | – |  <!-- {' '.join(reason.split())} -->")
                continue
            seconds, cpu, memory = (statistics.median(column) for column in zip(*runs))
            ratio = "–" if ours is None else f"{seconds / ours[0]:.1f}× (CPU {cpu / ours[1]:.1f}×)"
            goal = f"{goals[tool]}×" if goals and tool in goals else "–"
            print(f"| {label} | {tool} | {seconds:.2f} | {cpu:.2f} | "
                  f"{memory:.0f} | {ratio} | {goal} |", flush=True)
            if tool == "ours":
                ours = (seconds, cpu)
                worked, passed = (now - then for now, then in zip(busy(), before))
                bounds.append((label, name, seconds, worked / passed))
                if not arguments.quick and disk_format == "raw" and goals is not None:
                    check(loop, ROOM / "disk.raw")
    print()
    print("| image | ours, s | download | hash | unpack | write | all cores busy |")
    print("|---|---|---|---|---|---|---|")
    for label, name, seconds, share in bounds:
        stages = dict(alone(server, loop, name))
        cells = [f"{stages[stage]:.2f}" if stage in stages else "–"
                 for stage in ("download", "hash", "unpack", "write")]
        print(f"| {label} | {seconds:.2f} | {' | '.join(cells)} | {share:.0%} |", flush=True)


def check(loop, raw):
    """The disk holds the image, but for the backup table, which was moved to the disk's end."""
    with open(loop.path, "rb") as disk, open(raw, "rb") as image:
        at = 0
        while block := image.read(4 << 20):
            other = disk.read(len(block))
            if at == 0:
                # The header names the place of the backup.
                block, other = block[4096:], other[4096:]
            at += 4 << 20
            if at >= SIZE:
                block, other = block[:-33 * 512], other[:-33 * 512]
            if block != other:
                sys.exit(f"the disk differs from the image before byte {at}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("agent")
    parser.add_argument("--quick", action="store_true", help="one run each")
    parser.add_argument("--python", help="the Python agent's interpreter")
    parser.add_argument("--coreos", help="path of coreos-installer")
    parser.add_argument("--only", help="labels of images, by comma")
    parser.add_argument("--tools", help="labels of peers, by comma; ours always runs")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("loop devices need root")
    # An interrupted run cleans up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    ROOM.mkdir(parents=True, exist_ok=True)
    digests = make_images(ROOM)
    server, loop = Server(ROOM), None
    try:
        loop = Loop(ROOM)
        measure(arguments, server, loop, digests)
    finally:
        server.stop()
        (ROOM / "target.file").unlink(missing_ok=True)
        if loop:
            loop.remove()


main()
