"""grpcurl as far as the pages of the project use it, for their tests: Debian has no package of it.

    grpcurl.py [-plaintext] [-cacert F -cert F -key F] [-H 'NAME: VALUE'] [-d JSON|@] ADDRESS METHOD|list

Runs in the environment of clients/python, which has the messages. Of an answer that does not end GRPCURL_MESSAGES are printed.
"""

import argparse
import importlib
import os
import pkgutil
import re
import sys
from pathlib import Path

import grpc
import ironic_agent_client.v1
from google.protobuf import descriptor_pool, json_format, message_factory

# ServerReflectionRequest{list_services: "*"}
LIST_SERVICES = b"\x3a\x01*"


def channel(arguments: argparse.Namespace) -> grpc.Channel:
    if arguments.plaintext:
        return grpc.insecure_channel(arguments.address)
    authority, chain, key = (Path(path).read_bytes() for path in (arguments.cacert, arguments.cert, arguments.key))
    return grpc.secure_channel(arguments.address, grpc.ssl_channel_credentials(authority, key, chain))


def services(to: grpc.Channel) -> None:
    """Prints what reflection lists. Names are found in the bytes: their messages are not in the environment."""
    call = to.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    answer = next(call(iter([LIST_SERVICES]), timeout=20))
    print(*re.findall(r"[a-z]+(?:\.\w+)+\.[A-Z]\w+", answer.decode("latin-1")), sep="\n")


def call(to: grpc.Channel, name: str, text: str, metadata: list[tuple[str, str]]) -> None:
    for module in pkgutil.iter_modules(ironic_agent_client.v1.__path__):
        importlib.import_module(f"ironic_agent_client.v1.{module.name}")
    service, _, method_name = name.partition("/")
    method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method_name]
    request = json_format.Parse(text or "{}", message_factory.GetMessageClass(method.input_type)())
    answer_type = message_factory.GetMessageClass(method.output_type)
    path = f"/{service}/{method_name}"
    encode = type(request).SerializeToString
    answers = to.unary_stream(path, encode, answer_type.FromString)(request, metadata=metadata, timeout=60)
    left = int(os.environ.get("GRPCURL_MESSAGES", "1"))
    for answer in answers:
        print(json_format.MessageToJson(answer))
        left -= 1
        if left == 0:
            answers.cancel()
            return


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true")
    for option in ("-cacert", "-cert", "-key", "-d"):
        parser.add_argument(option)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("address")
    parser.add_argument("method")
    arguments = parser.parse_args()
    text = sys.stdin.read() if arguments.d == "@" else arguments.d
    metadata = [(name.strip(), value.strip()) for name, _, value in (header.partition(":") for header in arguments.H)]
    with channel(arguments) as to:
        try:
            if arguments.method == "list":
                services(to)
            else:
                call(to, arguments.method, text, metadata)
        except grpc.RpcError as error:
            print(f"ERROR: {error.code().name}: {error.details()}", file=sys.stderr)  # type: ignore[attr-defined]
            return 64 + error.code().value[0]  # type: ignore[attr-defined]
    return 0


if __name__ == "__main__":
    sys.exit(main())
