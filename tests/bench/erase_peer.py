"""Erases all disks of the virtual machine with the Python agent, as often as there are arguments.

    erase_peer.py CONCURRENCY...

Runs in the guest. What counts is the call alone: no imports, no search for hardware managers.
"""

import ctypes.util
import sys
import time

# What finds libraries asks programs that the ramdisk does not have.
ctypes.util.find_library = {"udev": "libudev.so.1", "c": "libc.so.6"}.get  # type: ignore[assignment]

from oslo_config import cfg  # noqa: E402

from ironic_python_agent import config, hardware  # noqa: E402

config.populate_config()
cfg.CONF([], project="ironic-python-agent", default_config_files=[])
hardware.dispatch_to_managers("list_block_devices")  # finds and prepares the managers
for concurrency in map(int, sys.argv[1:]):
    node = {"uuid": "0c3f8f5e-7d0a-4c3f-9a55-0d8f4d6d7a10", "properties": {}, "driver_info": {}, "instance_info": {},
            "driver_internal_info": {"disk_erasure_concurrency": concurrency}}
    began = time.monotonic()
    erased = hardware.dispatch_to_managers("erase_devices", node, [])
    print(f"ERASED disks={len(erased)} concurrency={concurrency} seconds={time.monotonic() - began:.2f}", flush=True)
print("ERASED everything", flush=True)
