"""Raw HTTP over a socket: every byte of a request is ours, every byte of an answer is kept."""

import re
import socket
from dataclasses import dataclass, field

PATIENCE = 20.0


@dataclass
class Answer:
    """What came back. `status` is 0 when the connection ended without an answer."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    closed: bool = False
    interim: list = field(default_factory=list)

    def header(self, name):
        return self.headers.get(name.lower())


class Connection:
    """One TCP connection on which requests follow each other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # the other end has refused already; its answer is what counts

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def answer(self, head_only=False):
        """Reads the next answer, interim ones included."""
        answer = Answer()
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if not self._more():
                    answer.closed = True
                    return answer
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status == 100:
                answer.interim.append(status)
                continue
            break
        answer.status = status
        for line in lines[1:]:
            name, _, value = line.partition(":")
            answer.headers.setdefault(name.strip().lower(), value.strip())
        length = answer.header("content-length")
        if head_only or status in (204, 304):
            return answer
        if length is None:
            while self._more():
                pass
            answer.body, self.buffer = self.buffer, b""
            answer.closed = True
            return answer
        while len(self.buffer) < int(length):
            if not self._more():
                answer.closed = True
                break
        answer.body, self.buffer = self.buffer[:int(length)], self.buffer[int(length):]
        return answer

    def is_closed(self):
        """Whether the other end closes the connection within two seconds."""
        self.socket.settimeout(2)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
