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

INSIDE = "IRONIC_AGENT_LAB"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


def is_inside():
    return os.environ.get(INSIDE) == "1"


def run_inside():
    """Runs this program again in new network, process and mount namespaces; its exit status.

    Nothing of the host changes: addresses, ports and mounts vanish with the namespaces, and when
    the first process of a process namespace ends, for whatever reason, the kernel ends all others.
    """
    unshare = shutil.which("unshare")
    if not unshare:
        raise LabError("the program `unshare` (package util-linux) is missing")
    wanted = [unshare, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        wanted += ["--user", "--map-root-user"]
    trial = subprocess.run([*wanted, "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        raise LabError(
            f"no namespaces of our own: {trial.stderr.strip()}; run it as root, or allow unprivileged "
            "user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        )
    libc = ctypes.CDLL(None)
    child = subprocess.Popen(
        [*wanted, sys.executable, *sys.argv],
        env={**os.environ, INSIDE: "1"},
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
    """Gives the new namespace its addresses, and makes every way of being told to stop one."""
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
