"""The image of the first look: made on the spot, and served at the rate of a network that is not fast.

make FILE: writes the image, and prints four free ports and its SHA-256.
serve FILE PORT: serves it at the loopback address.
"""

import hashlib
import http.server
import os
import socket
import struct
import sys
import time

SIZE = 48 << 20
RATE = 12 << 20
PIECE = 256 << 10


def make(path: str) -> None:
    """One partition from sector 2048 to the end, and content that is not zeros."""
    sectors = SIZE // 512 - 2048
    partition = struct.pack("<8BII", 0x80, 0, 2, 0, 0x83, 0, 2, 0, 2048, sectors)
    table = bytes(446) + partition + bytes(48) + b"\x55\xaa"
    content = bytes(byte for byte in range(251)) * (SIZE // 251 + 1)
    image = table + content[512:SIZE]
    with open(path, "wb") as file:
        file.write(image)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [str(server.getsockname()[1]) for server in sockets]
    print(*ports, hashlib.sha256(image).hexdigest())


class SlowFiles(http.server.SimpleHTTPRequestHandler):
    """Files of the directory, at a bounded rate."""

    def copyfile(self, source, outputfile) -> None:
        """Sends a piece, and waits as long as it takes."""
        while piece := source.read(PIECE):
            outputfile.write(piece)
            time.sleep(len(piece) / RATE)


def serve(path: str, port: int) -> None:
    """Serves the directory of the image."""
    os.chdir(os.path.dirname(path))
    http.server.ThreadingHTTPServer(("127.0.0.1", port), SlowFiles).serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", file]:
            make(file)
        case ["serve", file, number]:
            serve(file, int(number))
        case _:
            sys.exit(__doc__)
