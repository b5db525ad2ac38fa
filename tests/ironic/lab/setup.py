"""What has to be there before anything starts; each piece is made once and kept below `target/`."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from . import machines, places, releases
from .errors import LabError
from .places import LAB, REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
import venvs  # noqa: E402
from debian import Packages, Problem  # noqa: E402

# Whose programs the laboratory runs. Those of the conductor: qemu-utils (looks into images), genisoimage (config
# drives), mtools and dosfstools (virtual media).
PACKAGES = ("qemu-system-x86", "ovmf", "qemu-utils", "genisoimage", "mtools", "dosfstools", "e2fsprogs", "zstd",
            "openssh-client", "iproute2", "nats-server")


def use_programs(say, more=()):
    """Fetches the programs, and those of the packages `more`, and puts them before the host's on PATH, for everything that is
    started from here."""
    try:
        programs = Packages(say=say).programs("lab", [*PACKAGES, *more])
    except Problem as problem:
        raise LabError(str(problem)) from problem
    os.environ[places.PROGRAMS] = str(programs)
    os.environ["PATH"] = f"{programs}/bin:{os.environ.get('PATH', os.defpath)}"


def install_ironic(say):
    """The virtual environment with the newest Ironic and the Redfish emulator, and that of another release."""
    try:
        for release in dict.fromkeys((releases.known()[-1], releases.current())):
            venvs.ensure(release.venv, list(release.requirements), say, *release.options)
    except venvs.VenvError as error:
        raise LabError(str(error), error.log) from error


def find_ramdisk(directory, arch):
    for name in ("kernel", "initramfs"):
        if not (directory / name).is_file():
            raise LabError(f"there is no {directory / name}; run `make ramdisk ARCH={arch}` first")


def build(say):
    """Both programs and the ramdisk, as `make demo` takes them: built fast rather than small."""
    log = LAB / "build.log"
    command = ["cargo", "build", "--profile", "demo", "--locked"]
    environment = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "120",
                   "CARGO_TERM_COLOR": "never"}
    follow(command, log, environment, lambda line: cargo_says(line, say))
    follow([sys.executable, str(REPOSITORY / "ramdisk/build")], log, dict(os.environ),
           lambda line: say(line.removeprefix("ramdisk: ")))


def cargo_says(line, say):
    """`Building [==>  ] 120/345: tonic, hyper` is how far it is."""
    if match := re.match(r"\s*(Building|Downloading) \[[=> ]*\] +(\d+)/(\d+)(?:: (.*))?", line):
        what = "crates" if match[1] == "Building" else "downloads"
        say(f"{match[2]} of {match[3]} {what}{f', {match[4].strip()}' if match[4] else ''}"[:70])
    elif match := re.match(r"\s*(Updating|Downloading|Downloaded|Blocking|Locking)\b.*", line):
        say(line.strip()[:70])


def follow(command, log, environment, hear):
    """Runs a program that has to succeed; `hear` gets its lines, also those that overwrite one another."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   cwd=REPOSITORY, env=environment)
        assert process.stdout
        rest = ""
        while chunk := os.read(process.stdout.fileno(), 65536):
            *lines, rest = re.split(r"[\r\n]", rest + chunk.decode(errors="replace"))
            for line in filter(str.strip, lines):
                hear(line)
                if not re.match(r"\s*(Building|Downloading) \[", line):
                    output.write(line.encode() + b"\n")
                    output.flush()
    if process.wait() != 0:
        raise LabError(f"`{' '.join(map(str, command))}` failed", log)


def install_more(requirements, say):
    """The virtual environment with what some scenarios start beside Ironic."""
    try:
        venvs.ensure(places.VENV_MORE, requirements, say)
    except venvs.VenvError as error:
        raise LabError(str(error), error.log) from error


def build_clients(say):
    """The clients in other languages, unless the environment names some. Where they cannot be built the variable is empty."""
    if not os.environ.get(places.CLIENTS):
        say("clients/build")
        done = subprocess.run([REPOSITORY / "clients/build"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        (LAB / "clients.log").write_text(done.stderr)
        os.environ[places.CLIENTS] = done.stdout.strip() if done.returncode == 0 else ""


def prepare(say, status=None, builds=False, scenarios=(), images=None):
    """Everything of the above, and what `scenarios` need besides: programs, and a ramdisk for each machine, unless it `builds` it.
    Must run outside the namespace: it needs the network. `images()` makes images; it is called when the programs are there.

    `status(name, text)` hears how far each of the parts is that go on at the same time; the text is None at its end.
    """
    LAB.mkdir(parents=True, exist_ok=True)
    for name in () if builds else dict.fromkeys(scenario.MACHINE for scenario in scenarios):
        machine = machines.rack()[name]
        find_ramdisk(machine.ramdisk, machine.arch)
    packages = sorted({name for scenario in scenarios for name in scenario.packages})
    parts = {"programs": lambda say: use_programs(say, packages), "Ironic": install_ironic}
    if requirements := sorted({name for scenario in scenarios for name in scenario.requirements}):
        parts["more of Python"] = lambda say: install_more(requirements, say)
    if any(scenario.clients for scenario in scenarios):
        parts["clients"] = build_clients
    if builds:
        parts = {"build": build, **parts}
    in_parallel(parts, status or (lambda name, text: text and say(f"{name}: {text}")), "programs", images)


def in_parallel(parts, status, first, follow):
    """Calls each of `parts` in a thread, and `follow` in this one, where signals interrupt it, when the part `first` has ended.
    Raises the first error."""
    errors = []

    def go(name, work):
        status(name, "started")
        try:
            work(lambda text: status(name, text))
        except Exception as error:  # raised again by the main thread
            errors.append(error)
        status(name, None)

    def wait(*names):
        while not errors and any(threads[name].is_alive() for name in names):
            for name in names:
                threads[name].join(0.1)
        if errors:
            raise errors[0]

    threads = {name: threading.Thread(target=go, args=(name, work), daemon=True) for name, work in parts.items()}
    for thread in threads.values():
        thread.start()
    wait(first)
    if follow:
        follow()
    wait(*threads)


def programs():
    """The directory of the programs; `root` in it has all files of their packages."""
    return Path(os.environ[places.PROGRAMS])


def firmware():
    """The directory of the UEFI firmware."""
    return programs() / "root/usr/share/OVMF"
