"""An IPMI BMC for a virtual machine: what `ipmitool` wants is asked of the Redfish emulator, which has the machines.

    ipmi_bmc.py SYSTEM_URL PORT USER PASSWORD

Runs inside the virtual environment that has pyghmi, and listens on loopback.
"""

import json
import sys
import urllib.request

from pyghmi.ipmi import bmc

# Boot devices as IPMI and as Redfish call them.
DEVICES = {"network": "Pxe", "hd": "Hdd", "optical": "Cd"}
REFUSED = 0xD5  # "command cannot be executed in the present state"


class Bmc(bmc.Bmc):
    """The BMC of one machine."""

    def __init__(self, system: str, port: int, accounts: dict[str, str]):
        super().__init__(accounts, port=port, address="127.0.0.1")
        self.system = system

    def ask(self, method: str, path: str = "", body: dict | None = None) -> dict:
        request = urllib.request.Request(self.system + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else {}

    def reset(self, kind: str) -> int:
        print(f"power: {kind}", flush=True)
        self.ask("POST", "/Actions/ComputerSystem.Reset", {"ResetType": kind})
        return 0

    def get_power_state(self) -> str:
        return "on" if self.ask("GET")["PowerState"] == "On" else "off"

    def power_on(self) -> int:
        return self.reset("On")

    def power_off(self) -> int:
        return self.reset("ForceOff")

    def power_shutdown(self) -> int:
        return self.reset("GracefulShutdown")

    def power_reset(self) -> int:
        return self.reset("ForceRestart") if self.get_power_state() == "on" else REFUSED

    def power_cycle(self) -> int:
        return self.power_reset()

    def get_boot_device(self) -> str:
        target = self.ask("GET")["Boot"]["BootSourceOverrideTarget"]
        return next((name for name, redfish in DEVICES.items() if redfish == target), "default")

    def set_boot_device(self, bootdevice: str) -> None:
        print(f"boot device: {bootdevice}", flush=True)
        target = {"BootSourceOverrideTarget": DEVICES[bootdevice], "BootSourceOverrideEnabled": "Continuous"}
        self.ask("PATCH", body={"Boot": target})


if __name__ == "__main__":
    system, port, user, password = sys.argv[1:]
    served = Bmc(system, int(port), {user: password})
    print("ready", flush=True)
    served.listen()
