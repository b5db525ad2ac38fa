"""Where things are, and the addresses that everybody agrees on.

Everything runs in a network namespace of its own, so the ports are the usual ones, nothing can
collide and nobody outside can connect. The emulator forwards the guest's connections to
GATEWAY to the namespace's loopback; GATEWAY and the guests' addresses are local in the namespace
too, so the same URLs are valid for the conductor and for the guests, and an agent's own address is
reachable without telling it another one.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
RAMDISK = Path(os.environ.get("RAMDISK", REPOSITORY / "target" / "ramdisk")).absolute()
RAMDISK_AARCH64 = Path(os.environ.get("RAMDISK_AARCH64", REPOSITORY / "target/ramdisk-aarch64")).absolute()
# What is in the ramdisk, too; outside of it, it is a gateway.
SHIM = Path(os.environ.get("SHIM", REPOSITORY / "target/x86_64-unknown-linux-gnu/release/ironic-shim")).absolute()
# Simulated machines.
FLEET = Path(os.environ.get("FLEET", REPOSITORY / "target/x86_64-unknown-linux-gnu/release/examples/fleet")).absolute()
LAB = REPOSITORY / "target" / "lab"
VENV = LAB / "venv"
VENV_MORE = LAB / "venv-more"  # what some scenarios start beside Ironic
IMAGE = LAB / "image"
RUN = LAB / "run"
# The variable with the directory of fetched programs, see setup.py.
PROGRAMS = "LAB_PROGRAMS"
# The variable with the directory of the clients in other languages, see setup.py.
CLIENTS = "CLIENTS"
# The example of a third party's program, as `make unit` builds it.
HARDWARE_MANAGER = Path(os.environ.get(
    "HARDWARE_MANAGER", REPOSITORY / "target/x86_64-unknown-linux-gnu/debug/examples/hardware-manager"))

GATEWAY = "10.0.2.2"
IRONIC_PORT = 6385
IMAGES_PORT = 8080
BMC_PORT = 8000
AGENT_PORT = 9999
SSH_PORT = 22
IPMI_PORT = 16230  # UDP

IRONIC_URL = f"http://{GATEWAY}:{IRONIC_PORT}"
IMAGES_URL = f"http://{GATEWAY}:{IMAGES_PORT}"
BMC_URL = f"http://{GATEWAY}:{BMC_PORT}"
