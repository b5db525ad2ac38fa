"""Images that QEMU makes, written by `ironic-agent write-image`: the disk must be the one that
`qemu-img convert -O raw` makes of the same file.

Each image has a number and is the same each time, as far as QEMU's is: `--only NUMBER` makes
one of them again and keeps it.
"""

import argparse
import collections
import hashlib
import http.server
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading

MIB = 1 << 20


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of a directory; below /whole/ without answering to ranges."""

    daemon_threads = True

    def __init__(self, directory):
        self.directory = directory
        self.requests = {"part": 0, "whole": 0}
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        whole_only = self.path.startswith("/whole/")
        data = (self.server.directory / self.path.rsplit("/", 1)[1]).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked and not whole_only:
            first = int(asked[1])
            last = min(int(asked[2] or len(data)), len(data) - 1)
            self.server.requests["part"] += 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        else:
            self.server.requests["whole"] += 1
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            # Who has all tables reads no further.
            self.close_connection = True


def run(*argv):
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout


def boot_sector():
    """A partition table of one partition: a disk without one is refused."""
    sector = bytearray(512)
    sector[450] = 0x83
    sector[454:458] = (64).to_bytes(4, "little")
    sector[458:462] = (64).to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


class Image:
    """One image, made of random decisions."""

    def __init__(self, number, directory):
        self.dice = random.Random(number)
        self.path = directory / f"{number}.qcow2"
        self.directory = directory
        self.story: list[str] = []
        self.compared, self.is_sound = 0, False
        dice = self.dice
        self.extended = dice.random() < 0.25
        smallest = 14 if self.extended else 9
        bits = dice.randint(smallest, 21)
        self.cluster = 1 << bits
        largest = min(24 * MIB, 4096 << bits)
        self.size = 512 * dice.randint(MIB // 512, largest // 512)
        options = [f"cluster_size={self.cluster}"]
        if not self.extended and dice.random() < 0.2:
            options.append("compat=0.10")
        else:
            options.append("compat=1.1")
            if self.extended:
                options.append("extended_l2=on")
            if dice.random() < 0.5:
                options.append("compression_type=zstd")
            if dice.random() < 0.3:
                options.append(f"refcount_bits={dice.choice([1, 8, 32, 64])}")
            if dice.random() < 0.2:
                options.append("lazy_refcounts=on")
        self.options = options
        kinds = [self.converted, self.written, self.preallocated, self.lived_in, self.resized]
        if "refcount_bits=1" not in options:
            kinds.append(self.with_snapshot)
        kind = dice.choice(kinds)
        # The only kind whose data is more than the agent keeps in memory until its tables come.
        if number % 20 == 7:
            kind = self.outgrown
        self.kind = kind.__name__
        kind()

    def make(self, *argv):
        self.story.append(" ".join(str(arg) for arg in argv))
        run(*argv)

    def create(self, size, *more):
        options = ",".join([*self.options, *more])
        self.make("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, self.path, size)

    def converted(self):
        raw = self.directory / "base.raw"
        with open(raw, "wb") as file:
            file.truncate(self.size)
            for _ in range(self.dice.randint(1, 20)):
                file.seek(self.dice.randrange(self.size))
                length = self.dice.randint(1, max(1, min(2 * MIB, self.size - file.tell())))
                byte = self.dice.randbytes(1)
                kinds = [byte * length, self.dice.randbytes(length), (byte + bytes(99)) * (length // 100)]
                file.write(self.dice.choice(kinds))
            file.seek(0)
            file.write(boot_sector())
        more = self.dice.choice([[], ["-c"], ["-c"], ["-W"], ["-c", "-W", "-m", "8"], ["-S", "0"]])
        options = ",".join(self.options)
        self.make("qemu-img", "convert", *more, "-f", "raw", "-O", "qcow2", "-o", options, raw, self.path)
        raw.unlink()

    def write(self, count, size=None):
        """Writes, zeros, discards and compressed writes in any order, then the boot sector."""
        size = size or self.size
        orders = []
        for _ in range(count):
            offset = 512 * self.dice.randrange(size // 512)
            length = 512 * self.dice.randint(1, max(1, min(self.dice.choice([8, 200, 2000]), (size - offset) // 512)))
            kind = self.dice.randrange(8)
            if kind == 0:
                orders.append(f"write -z {offset} {length}")
            elif kind == 1:
                orders.append(f"discard {offset} {length}")
            elif kind == 2:
                start = offset // self.cluster * self.cluster
                if start + self.cluster <= size:
                    orders.append(f"write -c -P {self.dice.randrange(256)} {start} {self.cluster}")
            else:
                orders.append(f"write -P {self.dice.randrange(256)} {offset} {length}")
        argv = ["qemu-io", "-f", "qcow2", "-d", "unmap"]
        for order in orders:
            argv += ["-c", order]
        self.story.append(" ".join(argv))
        # A compressed write over a cluster that is in use is an error, and ends it.
        subprocess.run([*argv, str(self.path)], capture_output=True, timeout=120)
        sector = self.directory / "boot-sector"
        sector.write_bytes(boot_sector())
        self.make("qemu-io", "-f", "qcow2", "-c", f"write -s {sector} 0 512", self.path)

    def written(self):
        self.create(self.size)
        self.write(self.dice.randint(1, 60))

    def preallocated(self):
        kind = self.dice.choice(["metadata", "falloc", "full"])
        if self.extended:
            kind = "metadata"
        self.create(self.size, f"preallocation={kind}")
        self.write(self.dice.randint(0, 20))

    def lived_in(self):
        self.converted()
        self.write(self.dice.randint(1, 40))

    def resized(self):
        """The L1 table of the small disk is too small, so it moves behind the data."""
        small = 512 * self.dice.randint(1, self.size // 512)
        self.create(small)
        self.write(self.dice.randint(1, 20), small)
        self.make("qemu-img", "resize", "-q", "-f", "qcow2", self.path, self.size)
        self.write(self.dice.randint(0, 20))

    def outgrown(self):
        """More than 16 MiB of data, and the L1 table that names it all behind it."""
        self.cluster, self.size, small = 4096, 24 * MIB, 20 * MIB
        self.options = [f"cluster_size={self.cluster}"]
        raw = self.directory / "base.raw"
        raw.write_bytes(boot_sector() + self.dice.randbytes(small - 512))
        self.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", self.options[0], raw, self.path)
        raw.unlink()
        self.make("qemu-img", "resize", "-q", "-f", "qcow2", self.path, self.size)

    def with_snapshot(self):
        self.written()
        self.make("qemu-img", "snapshot", "-c", "before", self.path)
        self.write(self.dice.randint(1, 30))


def write_image(agent, url, digest, device):
    argv = [agent, "write-image", "--url", url, "--sha256", digest, "--disk-format", "qcow2", "--device", device]
    return subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=120)


def is_sound(path):
    """QEMU's own writer damages an image now and then (compressed writes beside plain ones)."""
    checked = subprocess.run(["qemu-img", "check", "-q", str(path)], capture_output=True, timeout=120)
    # Leaked clusters, status 3, do no harm.
    return checked.returncode in (0, 3)


def check(agent, number, server, directory):
    """Answers the image and what is wrong, or nothing."""
    image = Image(number, directory)
    image.is_sound = is_sound(image.path)
    expected = directory / "expected.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image.path, expected)
    digest = hashlib.sha256(image.path.read_bytes()).hexdigest()
    size = expected.stat().st_size
    device = directory / "disk.raw"
    # On a disk with room behind the image, what is not placed yet can wait there.
    room = image.path.stat().st_size + 4 * MIB
    for way, larger in [("parts", 0), ("whole", 0), ("whole", room)]:
        if larger and number % 3 and image.kind != "outgrown":
            continue
        # A disk that was full of something else, and else no larger than it must be.
        device.write_bytes(b"\xff" * (size + larger))
        before = server.requests["whole"]
        url = f"http://127.0.0.1:{server.server_port}/{way}/{image.path.name}"
        done = write_image(agent, url, digest, device)
        if done.returncode != 0 and not image.is_sound and "safety check" in done.stderr:
            continue
        if done.returncode != 0:
            return image, f"{way}: {done.stderr.strip()}"
        image.compared += 1
        fetched = server.requests["whole"] - before
        # The first request asks for a part; a server of whole files is left at once.
        if image.kind == "outgrown" and way == "whole" and (fetched > 2) != (larger == 0):
            return image, f"{way}, {larger} bytes of room: fetched {fetched} times"
        written, right = device.read_bytes()[:size], expected.read_bytes()
        if written != right:
            at = next(at for at in range(size) if written[at] != right[at])
            return image, f"{way}: differs from byte {at} on"
    return image, None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default=os.environ.get("AGENT"), required="AGENT" not in os.environ)
    parser.add_argument("--count", type=int, default=220)
    parser.add_argument("--only", type=int)
    arguments = parser.parse_args()
    numbers = [arguments.only] if arguments.only is not None else range(arguments.count)
    failed = spoilt = 0
    compared: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="qcow2-") as name:
        directory = pathlib.Path(name)
        server = Server(directory)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for number in numbers:
            image, problem = check(pathlib.Path(arguments.agent), number, server, directory)
            spoilt += not image.is_sound
            if problem is None and image.compared:
                compared[image.kind] += 1
            if problem:
                failed += 1
                print(f"image {number}: {problem}")
                print("".join(f"    {line}\n" for line in image.story), end="", flush=True)
            if arguments.only is not None:
                kept = pathlib.Path(f"{number}.qcow2")
                kept.write_bytes(image.path.read_bytes())
                print(f"image {number} is {kept.absolute()}")
            image.path.unlink()
        print(f"qcow2: {len(numbers) - failed} of {len(numbers)} images are on the disk as qemu-img converts them,"
              f" or refused ({spoilt} that `qemu-img check` finds damaged);"
              f" {server.requests['part']} parts and {server.requests['whole']} whole files were sent")
        print("qcow2: compared:", ", ".join(f"{count} {kind}" for kind, count in sorted(compared.items())))
    # A few images need not be of each kind.
    has_kinds = len(compared) == 7 or arguments.count < 200
    if arguments.only is None and not (has_kinds and compared.total() >= min(200, 0.9 * arguments.count)):
        print("qcow2: too few images were compared, or not each kind: this run shows nothing")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
