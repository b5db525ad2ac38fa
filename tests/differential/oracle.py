"""Starts the real Python agent, standalone, with a hardware manager that touches nothing.

    oracle.py PORT TOKEN DISK

Runs in the virtual environment that holds ironic-python-agent. DISK is the path that the
agent believes to be its root device; nothing is ever written there, because the only image
server that the suite offers ends every download with an error.
"""

import sys

from oslo_config import cfg
from oslo_log import log

from ironic_python_agent import agent, errors, hardware, netutils, utils

PORT, TOKEN, DISK = int(sys.argv[1]), sys.argv[2], sys.argv[3]
CONF = cfg.CONF


class GenericHardwareManager(hardware.HardwareManager):
    """Offers the steps that both agents have, under the name that both use."""

    HARDWARE_MANAGER_NAME = "generic_hardware_manager"
    HARDWARE_MANAGER_VERSION = "1.2"

    def evaluate_hardware_support(self):
        return hardware.HardwareSupport.GENERIC

    def get_clean_steps(self, node, ports):
        real = hardware.GenericHardwareManager.get_clean_steps(self, node, ports)
        return [step for step in real if step["step"] == "erase_devices_metadata"]

    def get_deploy_steps(self, node, ports):
        real = hardware.GenericHardwareManager.get_deploy_steps(self, node, ports)
        return [step for step in real
                if step["step"] in ("erase_devices_metadata", "write_image")]

    def get_service_steps(self, node, ports):
        real = hardware.GenericHardwareManager.get_service_steps(self, node, ports)
        return [step for step in real if step["step"] == "write_image"]

    def erase_devices_metadata(self, node, ports):
        return None

    def write_image(self, node, ports, image_info, configdrive=None):
        raise errors.DeploymentError("no disk is written by the oracle")

    def get_os_install_device(self, permit_refresh=False):
        return DISK

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
    # No clock is set, no interface is configured, nothing is powered off by an oracle.
    utils.sync_clock = lambda *a, **k: None
    netutils.interface_has_carrier = lambda *a, **k: False
    oracle = agent.IronicPythonAgent(
        api_url=None, advertise_address=agent.Host("127.0.0.1", PORT),
        listen_address=agent.Host("127.0.0.1", PORT), ip_lookup_attempts=1,
        ip_lookup_sleep=0, network_interface=None, lookup_timeout=1, lookup_interval=1,
        standalone=True, agent_token=TOKEN)
    oracle.run()


main()
