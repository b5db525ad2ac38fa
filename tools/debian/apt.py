"""An apt state of the project's own: its lists, its candidates, its downloads."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

# Debian's name of the architecture of this machine's programs.
NATIVE = "amd64"
DAY = 24 * 3600
# How long lists stay that came without those of some source.
HOUR = 3600
RETRY_PAUSES: tuple[float, ...] = (2, 6)  # seconds before the second and the third attempt
HOST_ETC = Path("/etc/apt")
# How the host reaches its archive is taken from its configuration (proxies, certificates, checks of dates).
# Of that, not what decides which lists there are and how they are kept.
NOT_TAKEN = re.compile(r"Acquire::(IndexTargets|Languages|GzipIndexes|CompressionTypes|Retries|Changelogs)\b")
# What makes apt give up on all sources because of one.
UNREADABLE_SOURCES = ("Malformed", "Conflicting values", "is not known", "could not be read")


class Problem(Exception):
    """Something that the person who runs this has to put right."""


@dataclass(frozen=True)
class Download:
    """A package file as the archive describes it."""

    file: str  # name_version_architecture.deb; a colon in the version is written %3a
    size: int
    sha256: str

    @property
    def package(self) -> str:
        return self.file.split("_")[0]

    @property
    def exact(self) -> str:
        """The argument that means this package in this version to apt."""
        name, version, _ = self.file.split("_", 2)
        return f"{name}={unquote(version)}"


class Apt:
    """The state in a directory. `say` gets lines about what takes long.

    Its methods must not run at the same time in two processes: see `Packages.locked`.
    """

    def __init__(self, directory: Path, say, etc: Path = HOST_ETC, architecture: str = NATIVE):
        self.directory, self.say, self.etc, self.architecture = directory, say, etc, architecture
        self.archives = directory / "archives"
        self.incoming = directory / "incoming"
        self.stamp = directory / "lists.json"
        self.answers = directory / "answers.json"

    # The package lists ------------------------------------------------------------------------

    def refresh(self, force: bool = False) -> None:
        """Renews the package lists if they are older than a day, if the sources changed, or if `force`."""
        self.set_up()
        stamp = self.read_stamp()
        age = time.time() - stamp.get("renewed", 0)
        is_current = 0 <= age and time.time() < stamp.get("until", 0)
        is_fresh = is_current and stamp.get("sources") == self.sources_digest() and self.has_lists()
        if is_fresh and not force:
            return
        self.say("renewing the package lists")
        self.select_sources()
        is_renewed, complaints = self.update()
        if complaints:
            time.sleep(RETRY_PAUSES[0])
            is_renewed, complaints = self.update()
        if not self.has_lists():
            raise Problem("no package list could be fetched:\n" + "\n".join(complaints))
        if not is_renewed:
            # Without network what was fetched before may do; the next run tries again.
            self.say(f"the package lists could not be renewed and are {age / HOUR:.0f} hours old: {complaints[0]}")
            return
        for line in complaints:
            self.say(f"of one source: {line}")
        self.write_stamp(HOUR if complaints else DAY)

    def update(self) -> tuple[bool, list[str]]:
        """Asks all sources for their lists: whether one of them answered, and what apt complains about."""
        done = self.run("apt-get", "update", "-q", "-o", "Acquire::Retries=1", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        complaints = [line for line in lines if re.match(r"(E|W): ", line)]
        if done.returncode and not complaints:
            complaints = [f"apt-get ended with status {done.returncode}"]
        return any(re.match(r"(Hit|Get):", line) for line in lines), complaints

    def has_lists(self) -> bool:
        return any((self.directory / "lists").glob("*_Packages*"))

    def read_stamp(self) -> dict:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def write_stamp(self, lifetime: int) -> None:
        now = time.time()
        write(self.stamp, json.dumps({"renewed": now, "until": now + lifetime, "sources": self.sources_digest()}))

    def sources_files(self) -> list[Path]:
        """The host's files of sources, the distribution's own first."""
        more = [*(self.etc / "sources.list.d").glob("*.list"), *(self.etc / "sources.list.d").glob("*.sources")]
        more.sort(key=lambda path: (not re.match(r"debian|ubuntu", path.name), path.name))
        return [path for path in (self.etc / "sources.list", *more) if path.is_file()]

    def sources_digest(self) -> str:
        digest = hashlib.sha256()
        for path in self.sources_files():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()

    def select_sources(self) -> None:
        """Takes every file of sources that apt can read together with those before it."""
        chosen = self.directory / "sources"
        shutil.rmtree(chosen, ignore_errors=True)
        chosen.mkdir()
        for path in self.sources_files():
            # A copy, because apt wants its own ending, and sources.list has another one in there.
            copy = chosen / (path.name if path.parent.name == "sources.list.d" else "sources-list.list")
            # A disc that is not in the drive ends everything.
            lines = path.read_text(errors="surrogateescape").splitlines(keepends=True)
            copy.write_text("".join(line for line in lines if "cdrom:" not in line), errors="surrogateescape")
            done = self.run("apt-get", "indextargets", check=False)
            if done.returncode != 0 and any(word in done.stderr for word in UNREADABLE_SOURCES):
                self.say(f"{path} is left out: {done.stderr.strip().splitlines()[0]}")
                copy.unlink()
        if not any(chosen.iterdir()):
            raise Problem(f"{self.etc} has no sources of packages: no sources.list and nothing in sources.list.d")

    # The configuration ------------------------------------------------------------------------

    def set_up(self) -> None:
        """Makes what apt expects, or what somebody removed of it."""
        for name in ("lists/partial", "cache/archives/partial", "archives", "none", "log", "sources"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        # No package is installed, whatever the host has: candidates come from the archive alone.
        (self.directory / "status").write_bytes(b"")
        (self.directory / "preferences").write_text(self.preferences())
        if '"' in str(self.directory):
            raise Problem(f"apt's configuration cannot hold the quotation mark of {self.directory}")
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # an own directory need not be open to another user
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb-src::Sources::DefaultEnabled": "false",
            "Debug::NoLocking": "true",  # there is one lock around everything
            "Dir::Cache": f"{self.directory}/cache",
            "Dir::Etc": str(self.etc),
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": f"{self.directory}/none",
            "Dir::Etc::preferences": f"{self.directory}/preferences",
            "Dir::Etc::preferencesparts": f"{self.directory}/none",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": f"{self.directory}/sources",
            "Dir::Log": f"{self.directory}/log",
            "Dir::State": str(self.directory),
            "Dir::State::lists": f"{self.directory}/lists",
            "Dir::State::status": f"{self.directory}/status",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        lines.append(f'APT::Architectures {{ "{self.architecture}"; }};')
        (self.directory / "apt.conf").write_text("\n".join([*self.host_settings(), *lines]) + "\n")

    @staticmethod
    def host_settings() -> list[str]:
        """The host's lines about how packages are fetched."""
        done = subprocess.run(
            ["apt-config", "dump", "--format", '%F "%V";%n'], capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("Acquire::")]
        return [line for line in lines if not NOT_TAKEN.match(line) and not line.endswith(' "";')]

    @staticmethod
    def preferences() -> str:
        """The distribution's own packages before those that others offer, whatever their versions."""
        try:
            release = dict(
                line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
        except OSError:
            return ""
        name = release.get("VERSION_CODENAME", "").strip('"')
        kind = "a" if "ubuntu" in release.get("ID", "") else "n"
        suites = [name, f"{name}-updates", f"{name}-security"] if name else []
        return "\n".join(f"Package: *\nPin: release {kind}={suite}\nPin-Priority: 900\n" for suite in suites)

    def run(self, *argv: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Runs a program of apt with this state."""
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, env=self.environment())
        except FileNotFoundError as error:
            raise Problem(f"the program {argv[0]} is missing; this runs on Debian and its relatives") from error
        if check and done.returncode != 0:
            raise Problem(f"`{' '.join(argv[:8])}` failed:\n{done.stderr.strip()}")
        return done

    def environment(self) -> dict:
        return {**os.environ, "APT_CONFIG": str(self.directory / "apt.conf"), "LC_ALL": "C.UTF-8"}

    # Candidates -------------------------------------------------------------------------------

    def remembered(self, argv: tuple[str, ...], ask):
        """What `ask()` answers, or what it answered when the lists were the same: asking takes apt a second."""
        renewed, key = self.read_stamp().get("renewed"), json.dumps(argv)
        try:
            known = json.loads(self.answers.read_text())
            answers = known["answers"] if known["renewed"] == renewed else {}
        except (OSError, ValueError, KeyError, TypeError):
            answers = {}
        if key not in answers:
            answers[key] = ask()
            write(self.answers, json.dumps({"renewed": renewed, "answers": answers}))
        return answers[key]

    def closure(self, names: list[str]) -> list[Download]:
        """The packages and all that they depend on, as apt would install them on an empty machine."""
        return self.listed("apt-get", "install", "--yes", "--print-uris", "-qq", *names)

    def exact(self, names: list[str]) -> list[Download]:
        """These packages alone."""
        return self.listed("apt-get", "download", "--print-uris", "-qq", *names)

    def listed(self, *argv: str) -> list[Download]:
        found = []
        for line in self.remembered(argv, lambda: self.run(*argv).stdout.splitlines()):
            place, file, size, checksum = line.rsplit(" ", 3)
            kind, _, value = checksum.partition(":")
            if kind != "SHA256":
                raise Problem(f"the archive gives no SHA-256 checksum of {place}, only {checksum!r}")
            found.append(Download(file, int(size), value))
        return sorted(found, key=lambda download: download.file)

    def depends(self, name: str, pattern: str) -> list[str]:
        """The names that a package depends on and that match; nothing if the package is not known."""
        argv = ("apt-cache", "depends", "--important", name)
        listed = self.remembered(argv, lambda: self.run(*argv, check=False).stdout)
        return re.findall(rf"Depends: ({pattern})$", listed, re.M)

    # Downloads --------------------------------------------------------------------------------

    def fetch(self, downloads: list[Download]) -> None:
        """Brings the files into `archives`, those of an earlier or interrupted run included."""
        self.take_over(downloads)
        missing = [download for download in downloads if not self.has(download)]
        if not missing:
            return
        self.incoming.mkdir(exist_ok=True)
        total = sum(download.size for download in missing)
        what = f"{len(missing)} packages, {total / 1e6:.1f} MB"
        problem = ""
        for pause in (*RETRY_PAUSES, None):
            problem = self.download(missing, total)
            self.take_in(missing)
            missing = [download for download in missing if not self.has(download)]
            if not missing:
                shutil.rmtree(self.incoming, ignore_errors=True)
                return
            if pause is not None:
                self.say(f"{len(missing)} of {what} did not arrive; trying again in {pause} s")
                time.sleep(pause)
        names = ", ".join(download.file for download in missing[:5])
        raise Problem(f"{len(missing)} packages could not be fetched ({names}):\n{problem}")

    def download(self, missing: list[Download], total: int) -> str:
        """One attempt; what apt complained about."""
        log = self.directory / "log/download.log"
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                ["apt-get", "download", "-q", *(download.exact for download in missing)], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, cwd=self.incoming, env=self.environment())
            try:
                last = 0.0
                while process.poll() is None:
                    time.sleep(0.1)
                    if time.monotonic() - last >= 1:
                        last = time.monotonic()
                        here = sum(size_of(path) for path in self.incoming.glob("*.deb"))
                        self.say(f"downloading {len(missing)} packages: {here / 1e6:.1f} of {total / 1e6:.1f} MB")
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        lines = log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if re.match(r"(E|W|Err)\b", line)) or "\n".join(lines[-3:])

    def take_over(self, downloads: list[Download]) -> None:
        """Takes what an interrupted run left, and what PACKAGE_DOWNLOADS, a directory of package files, has."""
        self.take_in(downloads)
        offered = os.environ.get("PACKAGE_DOWNLOADS")
        for download in downloads if offered else ():
            source = Path(offered or "") / download.file
            if not self.has(download) and size_of(source) == download.size and sha256(source) == download.sha256:
                draft = self.archives / f"{download.file}.new"
                shutil.copyfile(source, draft)
                draft.replace(self.archives / download.file)

    def take_in(self, downloads: list[Download]) -> None:
        for download in downloads:
            path = self.incoming / download.file
            if not path.is_file():
                continue
            if size_of(path) == download.size and sha256(path) == download.sha256:
                path.replace(self.archives / download.file)
            else:
                path.unlink()

    def has(self, download: Download) -> bool:
        return size_of(self.archives / download.file) == download.size

    def verified(self, downloads: list[Download]) -> list[Path]:
        """The files, once more compared with their checksums; fetched again if they were damaged since."""
        for download in downloads:
            if sha256(self.archives / download.file) != download.sha256:
                (self.archives / download.file).unlink()
        self.fetch(downloads)
        return [self.archives / download.file for download in downloads]


def write(path: Path, text: str) -> None:
    """Writes a file so that it is never seen half written."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
