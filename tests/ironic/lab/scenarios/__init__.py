"""What is done with the machines, and what must be true afterwards."""

from .forms import BiosDisk, BiosPartitions, Gzip, Partitions, PlainQcow2, Qcow2, Zstd, ZstdQcow2
from .hardware import Erase, FastTrack, MediaInspection, Plugin, Raid, Rescue, Service
from .life import Damaged, Life, ShimDies, WrongChecksum

# The ring, in the order of each machine.
SCENARIOS = [
    Life, WrongChecksum, ShimDies, Qcow2, Zstd,
    BiosDisk, Rescue, Service, Plugin, Damaged,
    MediaInspection, FastTrack, Erase,
]
# By name only: other forms of what the ring has, and what waits for the agent.
MORE = [PlainQcow2, ZstdQcow2, Gzip, Partitions, BiosPartitions, Raid]
