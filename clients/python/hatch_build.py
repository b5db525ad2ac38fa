"""Puts what protoc makes of the protocol into the wheel, as package `ironic_agent_client.v1`."""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# `ironic` is OpenStack Ironic's package: what is generated must not be imported by that name.
IMPORT = re.compile(r"^(from|import) ironic\.agent\.v1\b", re.MULTILINE)
# What is generated for a file without services holds nothing.
SERVICE = re.compile(r"^service ", re.MULTILINE)
OURS = "ironic/agent/v1"


class ProtocolHook(BuildHookInterface):
    """Generates the modules, or packs the protocol where a source package is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        # In the source package it lies beside this file.
        protocol = next(path for path in (root / "proto", root.parent.parent / "proto") if (path / OURS).is_dir())
        if self.target_name == "sdist":
            build_data["force_include"][str(protocol / "ironic")] = "proto/ironic"
            return
        self.generated = tempfile.TemporaryDirectory()
        made = generate(protocol, Path(self.generated.name))
        build_data["force_include"][str(made)] = "ironic_agent_client/v1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name != "sdist":
            self.generated.cleanup()


def generate(protocol: Path, out: Path) -> Path:
    """The directory with the modules."""
    import grpc_tools
    from grpc_tools import protoc

    files = sorted((protocol / OURS).glob("*.proto"))
    # protoc finds mypy-protobuf's two plugins by PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    includes = [f"-I{protocol}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    messages = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    services = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    with_services = [path for path in files if SERVICE.search(path.read_text())]
    for options, inputs in ((messages, files), (services, with_services)):
        if protoc.main(["protoc", *includes, *options, *(str(path) for path in inputs)]) != 0:
            raise SystemExit("protoc could not generate the modules")
    made = out / OURS
    for path in [*made.glob("*.py"), *made.glob("*.pyi")]:
        path.write_text(IMPORT.sub(r"\1 ironic_agent_client.v1", path.read_text()))
    (made / "__init__.py").write_text('"""Messages and services of package `ironic.agent.v1`, generated."""\n')
    return made
