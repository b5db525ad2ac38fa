"""The switch at the other end of a machine's cable: it says by LLDP (IEEE 802.1AB) who it is."""

import socket
import struct
import threading

ADDRESS = "52:54:00:aa:bb:cc"
PORT = "Ethernet1/7"
NAME = "lab-switch"
NEAREST_BRIDGE = "01:80:c2:00:00:0e"


def octets(address):
    return bytes.fromhex(address.replace(":", ""))


def frame():
    """Chassis (its MAC address), port (its name), lifetime, system name, end."""
    def tlv(kind, value):
        return struct.pack(">H", kind << 9 | len(value)) + value

    values = (tlv(1, b"\x04" + octets(ADDRESS)) + tlv(2, b"\x05" + PORT.encode()) + tlv(3, struct.pack(">H", 120))
              + tlv(5, NAME.encode()) + tlv(0, b""))
    return (octets(NEAREST_BRIDGE) + octets(ADDRESS) + b"\x88\xcc" + values).ljust(60, b"\0")


class Switch:
    """Plugged in for as long as the context lasts; the machine must be turned on within it."""

    def __init__(self, machine):
        self.machine = machine
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.speak, daemon=True)

    def __enter__(self):
        (self.machine.directory / "cable").touch()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        (self.machine.directory / "cable").unlink(missing_ok=True)

    def speak(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cable:
            while not self.end.wait(1):
                cable.sendto(frame(), ("127.0.0.1", self.machine.cable))
