"""The Python agent's own functions write an image; prints the seconds without its imports.

    image_peer.py DEVICE URL SHA256 DISK_FORMAT STAGE

DEVICE must be a loop device. What would need udev, a wipe or a look at partitions is left out,
which is to the Python agent's advantage. STAGE stands for the ramdisk's /tmp: it is in memory.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import time

DEVICE, URL, DIGEST, DISK_FORMAT, STAGE = sys.argv[1:6]
if not DEVICE.startswith("/dev/loop"):
    sys.exit(f"{DEVICE} is no loop device")
shutil.rmtree(STAGE, ignore_errors=True)
pathlib.Path(STAGE).mkdir()
os.environ["TMPDIR"] = tempfile.tempdir = STAGE

from oslo_config import cfg  # noqa: E402

from ironic_python_agent import config, disk_utils, utils  # noqa: E402
from ironic_python_agent.extensions import standby  # noqa: E402

config.populate_config()
cfg.CONF([], project="ironic-python-agent", default_config_files=[])


def nothing(*_, **__):
    return None


for name in ("fix_gpt_partition", "block_uuid", "destroy_disk_metadata", "trigger_device_rescan",
             "udev_settle"):
    for module in (disk_utils, standby, utils):
        if hasattr(module, name):
            setattr(module, name, nothing)

image_info = {"id": "image", "urls": [URL], "disk_format": DISK_FORMAT, "os_hash_algo": "sha256",
              "os_hash_value": DIGEST, "stream_raw_images": True}
begin = time.monotonic()
extension = standby.StandbyExtension()
extension.partition_uuids = {}
if DISK_FORMAT == "raw":
    extension._stream_raw_image_onto_device(image_info, DEVICE)
else:
    extension._cache_and_write_image(image_info, DEVICE)
os.sync()
print("seconds", time.monotonic() - begin)
shutil.rmtree(STAGE, ignore_errors=True)
