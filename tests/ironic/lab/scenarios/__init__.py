"""What is done with the machines, and what must be true afterwards."""

from .forms import BiosDisk, BiosPartitions, Gzip, Partitions, PlainQcow2, Qcow2, Zstd, ZstdQcow2
from .hardware import Erase, FastTrack, MediaInspection, Plugin, Raid, Rescue, Service
from .life import Damaged, Life, ShimDies, WrongChecksum

# The ring, in the order of each machine.
SCENARIOS = [Life, WrongChecksum, ShimDies, BiosDisk, Rescue, Damaged, FastTrack]
# By name only.
MORE = [Qcow2, PlainQcow2, ZstdQcow2, Zstd, Gzip, Partitions, BiosPartitions, MediaInspection, Erase, Raid, Service, Plugin]
