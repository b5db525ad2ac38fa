"""What is done with the machines, and what must be true afterwards."""

from .arm import Arm
from .debian import DEBIANS, DebianCloud
from .fifty import Fifty
from .forms import BiosDisk, BiosPartitions, Gzip, Installer, Partitions, PlainQcow2, Qcow2, Zstd, ZstdQcow2
from .gateway import Gateway, Replicas
from .hardware import BiosRaid, Erase, FastTrack, MediaInspection, Plugin, Raid, Rescue, Service
from .interfaces import GrubPxe, HttpBoot, Ipmi
from .kexec import Kexec
from .life import ClockJumps, Damaged, Life, ShimDies, WrongChecksum
from .metal3 import Metal3
from .network import StaticNetwork
from .orchestrator import Orchestrator

# What `make ironic` runs, in the order of each machine. Inspection over virtual media comes last on its machine:
# Ironic keeps the token that it puts onto the medium over reboots, and gives no other one to an
# agent that is then booted from the network.
SCENARIOS = [
    Life, WrongChecksum, ShimDies, DebianCloud, Qcow2, Zstd, Partitions, Installer,
    BiosDisk, BiosPartitions, ClockJumps, Rescue, Service, Plugin, BiosRaid,
    FastTrack, Erase, Raid, Damaged, Metal3, Orchestrator, MediaInspection,
]
# What is tried with other releases of Ironic: a life from enrolment to the end, rescue, fast track; one for each machine.
OF_RELEASES = [Life, Rescue, FastTrack]
# By name only: another architecture, other ways to a machine, other forms of what is above, what leaves Ironic's token on a medium, what
# takes three boots and a slow download, fifty machines, and what no Ironic is part of.
MORE = [Arm, Ipmi, GrubPxe, HttpBoot, StaticNetwork, Gateway, Replicas, Fifty, Kexec, PlainQcow2, ZstdQcow2, Gzip, *DEBIANS]
