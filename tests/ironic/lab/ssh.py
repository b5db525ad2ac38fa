"""Logging in to a guest as an operator would."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path

from .errors import LabError
from .process import run, wait_for

OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "NumberOfPasswordPrompts=1", "ConnectTimeout=20",
           "LogLevel=ERROR")


def is_open(address, port):
    """Whether somebody answers there; the emulator's forwarding accepts for nobody, and then ends."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.settimeout(3)
            return connection.recv(1) != b""
    except TimeoutError:
        return True  # a server that waits for us to speak
    except OSError:
        return False


def run_in_guest(address, user, password, command, may_fail=False):
    """Output of a command in the guest; None if `may_fail` and it was refused."""
    wait_for(f"a login at {address}", lambda: is_open(address, 22), 90)
    with tempfile.TemporaryDirectory() as scratch:
        teller = Path(scratch) / "password"
        teller.write_text(f"#!/bin/sh\ncat <<'END'\n{password}\nEND\n")
        teller.chmod(0o700)
        done = subprocess.run(
            ["ssh", *options("PreferredAuthentications=password,keyboard-interactive"), f"{user}@{address}", command],
            capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
            env={**os.environ, "SSH_ASKPASS": str(teller), "SSH_ASKPASS_REQUIRE": "force"},
        )
    if done.returncode == 0:
        return done.stdout
    if may_fail:
        return None
    raise LabError(f"`{command}` in the guest: status {done.returncode}: {done.stderr.strip()}")


def options(*more):
    return [word for option in (*OPTIONS, *more) for word in ("-o", option)]


def make_key(path):
    """A new pair: the private key at `path`; the line of the public one."""
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "an operator of the lab", "-f", path])
    return path.with_suffix(".pub").read_text().strip()


def log_in(port, *how, command="id -u"):
    """The end of a login as root at a port of loopback, by what the options say."""
    return subprocess.run(
        ["ssh", *options(*how), "-p", str(port), "root@127.0.0.1", command],
        capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
        env={**os.environ, "SSH_ASKPASS": "true", "SSH_ASKPASS_REQUIRE": "force"},
    )
