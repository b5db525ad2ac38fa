"""The namespaces that everything runs in."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .errors import Interrupted, LabError
from .places import GATEWAY

# When the program began that runs again inside, of the clock that does not jump.
INSIDE = "IRONIC_AGENT_LAB"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


# What forbids ordinary users namespaces of their own: the setting, its value that forbids, what to do.
FORBIDS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
)


def is_inside():
    return INSIDE in os.environ


def began():
    """When the program began, or nothing if this is the program."""
    return float(os.environ[INSIDE]) if is_inside() else None


def command():
    """The words before a program that runs in namespaces of its own."""
    unshare = shutil.which("unshare")
    if not unshare:
        raise LabError("the program `unshare` (package util-linux) is missing")
    words = [unshare, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return words if os.geteuid() == 0 else [*words, "--user", "--map-root-user"]


def check():
    """Raises, with what to do about it, if there can be no namespaces of our own."""
    trial = subprocess.run([*command(), "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        raise LabError(f"no namespaces of our own: {trial.stderr.strip()}\n        {advice()}")


def advice():
    for setting, value, remedy in FORBIDS:
        path = Path("/proc/sys") / setting
        if os.geteuid() != 0 and path.exists() and path.read_text().strip() == value:
            return f"This machine forbids them to ordinary users. Allow them (as root: `{remedy}`), or run this as root."
    return ("If this is a container, start it so that it may have them (`--privileged`, or a seccomp and AppArmor "
            "profile that allows `unshare` and `mount`); otherwise run this as root.")


def run_inside(since):
    """Runs this program again in new network, process and mount namespaces; its exit status.

    Nothing of the host changes: addresses, ports and mounts vanish with the namespaces, and when
    the first process of a process namespace ends, for whatever reason, the kernel ends all others.
    """
    libc = ctypes.CDLL(None)
    child = subprocess.Popen(
        [*command(), sys.executable, *sys.argv],
        env={**os.environ, INSIDE: str(since)},
        # If we are killed without a chance to pass it on, so is everything below.
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: forward(child.pid, number))
    return child.wait()


def forward(unshare, number):
    """Passes a signal on to the one inside; `unshare` itself waits and does not care."""
    for pid in Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split():
        os.kill(int(pid), number)


def settle(guests):
    """Gives the new namespace its addresses, and makes every request to stop one."""
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{GATEWAY}/32", "dev", "lo"],
        # What we connect to a guest with must not look like the guest's own address to it.
        *(["ip", "route", "add", "local", f"{guest}/32", "dev", "lo", "src", GATEWAY] for guest in guests),
    ):
        subprocess.run(command, check=True)

    def stop(number, _frame):
        # Once is enough: a terminal sends it to the whole group and the parent forwards it.
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, stop)
