"""A virtual machine that boots an artefact, and an Ironic that knows every machine."""

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlparse

PORT = 6385
# Where a guest finds what listens on this machine's loopback.
API = f"http://10.0.2.2:{PORT}"
DEADLINE = 1200  # seconds; emulated machines are slow, and busy hosts are slower


class Failed(Exception):
    """What is not as it should be."""


class Ironic:
    """The part of Ironic's API that an agent asks for: every machine is known, every heartbeat is accepted. It listens on a
    loopback address, to which QEMU leads what a guest sends to its host by that family."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.heard: dict[str, float] = {}  # of nodes by UUID: when the first heartbeat came, of the clock that does not jump
        self.condition = threading.Condition()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, document: dict) -> None:
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                parts = urlparse(self.path)
                if parts.path.rstrip("/") == "/v1/lookup":
                    addresses = parse_qs(parts.query)["addresses"][0]
                    config = {"heartbeat_timeout": 300, "agent_token": "token-of-the-test"}
                    node: dict[str, dict] = {name: {} for name in ("properties", "instance_info", "driver_info", "driver_internal_info")}
                    self.answer(200, {"node": {"uuid": node_of(addresses.split(",")[0]), **node}, "config": config})
                else:
                    self.answer(200, {"default_version": {"id": "v1", "version": "1.95", "min_version": "1.1", "status": "CURRENT"}})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                with owner.condition:
                    owner.heard.setdefault(self.path.rstrip("/").rpartition("/")[2], time.monotonic())
                    owner.condition.notify_all()
                self.answer(202, {})

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True

        self.server = Server((address, PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def node_of(mac: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, mac))


class Machine:
    """A machine that is started when this is made; `media` are QEMU's words for what it boots."""

    network = "user"  # QEMU's, as an emulated router that gives leases

    def __init__(self, programs: Path, directory: Path, number: int, firmware: list[str], media: list[str], arch: str = "x86_64",
                 memory: int = 512):
        directory.mkdir(parents=True, exist_ok=True)
        self.console, self.mac = directory / "console.log", f"52:54:00:1a:c0:{number:02x}"
        board = ["-machine", "q35,smm=on", "-cpu", "max"] if arch == "x86_64" else ["-machine", "virt", "-cpu", "neoverse-n1"]
        words = [
            str(programs / f"bin/qemu-system-{arch}"), *board, "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(memory),
            "-display", "none", "-vga", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", f"file:{self.console}",
            "-device", "virtio-rng-pci", "-netdev", f"{self.network},id=net0", "-device", f"virtio-net-pci,netdev=net0,mac={self.mac},romfile=",
            *firmware, *media,
        ]
        self.log = open(directory / "qemu.log", "wb")
        self.power_on = time.monotonic()
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def said(self) -> str:
        text = self.console.read_bytes().decode(errors="replace") if self.console.exists() else ""
        return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", text)

    def wait(self, what: str, is_true, seconds: float = DEADLINE) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            if self.process.poll() is not None:
                raise Failed(f"{what}: the machine has ended; {Path(self.log.name)}")
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {seconds} s; the console's last lines:\n" + "\n".join(self.said().splitlines()[-25:]))
            time.sleep(0.2)

    def wait_for_heartbeat(self, ironic: Ironic) -> None:
        self.wait("a heartbeat", lambda: node_of(self.mac) in ironic.heard)

    def wait_for(self, text: str, seconds: float = DEADLINE) -> None:
        self.wait(f"{text!r} on the console", lambda: text in self.said(), seconds)


def uefi(programs: Path, directory: Path, variables: Path | None = None) -> list[str]:
    """OVMF with Secure Boot's code; with Microsoft's keys, or those of the variables that are given."""
    root = programs / "root/usr/share/OVMF"
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "variables.fd"
    shutil.copy(variables or root / "OVMF_VARS_4M.ms.fd", kept)
    os.chmod(kept, 0o600)
    return ["-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={root}/OVMF_CODE_4M.secboot.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={kept}"]


def plain_uefi(programs: Path, directory: Path) -> list[str]:
    """OVMF without Secure Boot, as the laboratory of the real Ironic has it."""
    root = programs / "root/usr/share/OVMF"
    kept = directory / "variables.fd"
    shutil.copy(root / "OVMF_VARS_4M.fd", kept)
    os.chmod(kept, 0o600)
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={root}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={kept}"]


def aavmf(programs: Path, directory: Path) -> list[str]:
    root = programs / "root/usr/share/AAVMF"
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "variables.fd"
    shutil.copy(root / "AAVMF_VARS.fd", kept)
    os.chmod(kept, 0o600)
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={root}/AAVMF_CODE.fd", "-drive", f"if=pflash,format=raw,unit=1,file={kept}"]


def cd(image: Path) -> list[str]:
    return ["-device", "virtio-scsi-pci", "-drive", f"if=none,id=cd,media=cdrom,readonly=on,format=raw,file={image}",
            "-device", "scsi-cd,drive=cd,bootindex=0"]


def sata_cd(image: Path) -> list[str]:
    return ["-drive", f"if=none,id=cd,media=cdrom,readonly=on,format=raw,file={image}", "-device", "ide-cd,drive=cd,bootindex=0"]


def usb_stick(image: Path) -> list[str]:
    return ["-device", "qemu-xhci", "-drive", f"if=none,id=stick,readonly=on,format=raw,file={image}",
            "-device", "usb-storage,drive=stick,bootindex=0"]
