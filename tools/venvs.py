"""Virtual environments below `target/`, each made once for its requirements."""

import fcntl
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

RETRY_PAUSES = (3, 10)  # seconds before the second and the third attempt


class VenvError(Exception):
    """An environment could not be made; `log` tells why."""

    def __init__(self, message: str, log: Path):
        super().__init__(message)
        self.log = log


def ensure(directory: Path, requirements: list[str], say, *options: str) -> Path:
    """The Python of the environment `directory` with `requirements` in it; made unless it is there and whole.

    `say` gets a line at each step; `options` are pip's. A run that is killed half way is made again by the next one.
    """
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    # The path is part of it, because the programs of an environment name it.
    known = "\n".join([sys.version, sys.executable, str(directory), *options, *requirements])
    digest, stamp = hashlib.sha256(known.encode()).hexdigest(), directory / "complete"
    with open(directory.with_name(directory.name + ".lock"), "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = directory / "bin/python"
        if stamp.is_file() and stamp.read_text() == digest and python.exists():
            return python
        log = directory.with_name(directory.name + ".log")
        if importlib.util.find_spec("ensurepip") is None:
            raise VenvError("Python's module ensurepip is missing: install the package python3-venv", log)
        say(f"making the environment {directory.name}")
        shutil.rmtree(directory, ignore_errors=True)
        with open(log, "w", encoding="utf-8") as output:
            output.flush()
            run([sys.executable, "-m", "venv", str(directory)], output, log, say)
            install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                       "--progress-bar", "off", "--no-compile", *options, *requirements]
            for pause in (*RETRY_PAUSES, None):
                try:
                    run(install, output, log, say)
                    break
                except VenvError:
                    if pause is None:
                        raise
                    time.sleep(pause)
        stamp.write_text(digest)
        return python


def run(argv: list[str], output, log: Path, say) -> None:
    """One step, its output in the log; what pip has found so far is said."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
    assert process.stdout
    found = 0
    for line in process.stdout:
        output.write(line)
        output.flush()
        if match := re.match(r"Collecting (\S+)", line):
            found += 1
            say(f"{found} packages found, {match[1]}")
        elif line.startswith("Installing collected"):
            say(f"unpacking {found} packages")
    if process.wait() != 0:
        raise VenvError(f"`{' '.join(argv[:6])} …` failed", log)
