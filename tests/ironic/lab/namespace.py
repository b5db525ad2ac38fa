"""The namespaces that everything runs in."""

import os
import shutil
import signal
import subprocess
import sys

from .errors import Interrupted, LabError
from .places import GATEWAY, GUEST

INSIDE = "IRONIC_AGENT_LAB"


def enter():
    """Starts this program again in new network, process and mount namespaces.

    Nothing of the host changes: addresses, ports and mounts vanish with the namespaces, and when
    the first process of a process namespace ends, for whatever reason, the kernel ends all others.
    """
    if os.environ.get(INSIDE) == "1":
        settle()
        return
    unshare = shutil.which("unshare")
    if not unshare:
        raise LabError("the program `unshare` (package util-linux) is missing")
    wanted = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        wanted += ["--user", "--map-root-user"]
    trial = subprocess.run([unshare, *wanted, "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        raise LabError(
            f"no namespaces of our own: {trial.stderr.strip()}; run it as root, or allow unprivileged "
            "user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        )
    os.environ[INSIDE] = "1"
    os.execv(unshare, [unshare, *wanted, sys.executable, *sys.argv])


def settle():
    """Gives the new namespace its addresses, and makes every way of being told to stop one."""
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{GATEWAY}/32", "dev", "lo"],
        ["ip", "address", "add", f"{GUEST}/32", "dev", "lo"],
    ):
        subprocess.run(command, check=True)

    def stop(number, _frame):
        raise Interrupted(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
