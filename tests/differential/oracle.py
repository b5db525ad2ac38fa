"""Starts the real Python agent, standalone, on a machine that it cannot change.

    oracle.py PORT TOKEN DISK [plain]

Runs in the virtual environment that holds ironic-python-agent; an empty TOKEN means no token. DISK is
the path that the agent believes to be its root device. Two walls keep the machine as it is: the
hardware manager's steps do nothing, and an audit hook lets the process run no program and open
no file for writing but those below DISK's folder. A `plain` agent has no audit hook: the
benchmark, which only asks for the status, measures the agent and not the wall.
"""

import io
import os
import pathlib
import sys
import tempfile

PORT, TOKEN, DISK = int(sys.argv[1]), sys.argv[2] or None, sys.argv[3]
ROOM = str(pathlib.Path(DISK).resolve().parent)
# What the collection of logs runs; each of them only looks.
HARMLESS = {"journalctl", "ps", "df", "ip", "iptables", "dmesg", "lsblk", "mdadm", "lshw",
            "ethtool", "mount", "cat", "parted", "multipath", "sysctl", "lsmod", "udevadm"}


def wall(event, arguments):
    """Refuses what could change the machine, no matter who asks for it."""
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) \
            if isinstance(flags, int) else mode and set(mode) & set("wax+")
        if writes and isinstance(path, (str, bytes)):
            real = os.path.realpath(os.fsdecode(path))
            if real != "/dev/null" and not (real + "/").startswith(ROOM + "/"):
                raise PermissionError(f"the oracle does not write {real}")
    elif event == "subprocess.Popen":
        program = os.path.basename(os.fsdecode(arguments[0]))
        if program not in HARMLESS:
            raise PermissionError(f"the oracle does not run {program}")
    elif event in ("os.system", "os.exec", "os.posix_spawn", "os.remove", "os.rmdir", "os.rename",
                   "os.chmod", "os.chown", "os.mkdir", "os.truncate", "os.symlink", "os.link"):
        named = [os.path.realpath(os.fsdecode(a)) for a in arguments if isinstance(a, (str, bytes))]
        if event in ("os.system", "os.exec", "os.posix_spawn") \
                or not all((path + "/").startswith(ROOM + "/") for path in named):
            raise PermissionError(f"the oracle does no {event}")


os.environ["TMPDIR"] = tempfile.tempdir = ROOM
if "plain" not in sys.argv[4:]:
    sys.dont_write_bytecode = True
    sys.addaudithook(wall)

from oslo_config import cfg  # noqa: E402 - nothing is imported before the wall stands
from oslo_log import log  # noqa: E402

from ironic_python_agent import agent, errors, hardware, netutils, utils  # noqa: E402

CONF = cfg.CONF


class GenericHardwareManager(hardware.HardwareManager):
    """Offers the steps of the real one, under the name that both use, and does nothing."""

    HARDWARE_MANAGER_NAME = "generic_hardware_manager"
    HARDWARE_MANAGER_VERSION = "1.2"

    def evaluate_hardware_support(self):
        return hardware.HardwareSupport.GENERIC

    def get_clean_steps(self, node, ports):
        return hardware.GenericHardwareManager.get_clean_steps(self, node, ports)

    def get_deploy_steps(self, node, ports):
        return hardware.GenericHardwareManager.get_deploy_steps(self, node, ports)

    def get_service_steps(self, node, ports):
        return hardware.GenericHardwareManager.get_service_steps(self, node, ports)

    def erase_devices_metadata(self, node, ports):
        return None

    def write_image(self, node, ports, image_info, configdrive=None):
        raise errors.DeploymentError("no disk is written by the oracle")

    def get_os_install_device(self, permit_refresh=False):
        return DISK

    def collect_system_logs(self, io_dict, file_list):
        return None

    def full_sync(self):
        return None

    def wait_for_disks(self):
        return None


def main():
    log.register_options(CONF)
    CONF(args=["--config-file", "/dev/null"])
    CONF.set_override("image_download_connection_retries", 0)
    CONF.set_override("image_download_connection_retry_interval", 0)
    log.setup(CONF, "ironic-python-agent")
    manager = GenericHardwareManager()
    hardware._global_managers = [{
        "name": manager.__class__.__name__,
        "support": hardware.HardwareSupport.GENERIC,
        "manager": manager,
    }]
    # Without journald the Python agent packs /var/log, of which an ordinary user may not read everything.
    utils.is_journalctl_present = lambda: True
    utils.get_journalctl_output = lambda *a, **k: io.BytesIO(b"a journal\n")
    # No clock is set and no interface is configured by an oracle.
    utils.sync_clock = lambda *a, **k: None
    netutils.interface_has_carrier = lambda *a, **k: False
    oracle = agent.IronicPythonAgent(
        api_url=None, advertise_address=agent.Host("127.0.0.1", PORT),
        listen_address=agent.Host("127.0.0.1", PORT), ip_lookup_attempts=1,
        ip_lookup_sleep=0, network_interface=None, lookup_timeout=1, lookup_interval=1,
        standalone=True, agent_token=TOKEN)
    oracle.run()


main()
