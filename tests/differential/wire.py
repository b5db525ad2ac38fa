"""Raw HTTP over a socket: every byte of a request is ours, every byte of an answer is kept."""

import select
import socket
import time
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What came back. `status` is 0 when the connection ended without an answer."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    interim: list = field(default_factory=list)

    def header(self, name):
        """The values of a header, repeated ones with a bar between them."""
        values = self.headers.get(name.lower())
        return None if values is None else " | ".join(values)


class Connection:
    """One TCP connection on which requests follow each other."""

    def __init__(self, port, timeout=20.0):
        self.timeout = timeout
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # the other end has refused already; its answer is what counts

    def _more(self, deadline):
        """Whether another byte came. TimeoutError after `deadline`."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def _head(self, deadline):
        while b"\r\n\r\n" not in self.buffer:
            if not self._more(deadline):
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        return int(lines[0].split()[1]), lines[1:]

    def interim(self):
        """The status of the next interim answer, or that of a final one that came instead."""
        head = self._head(time.monotonic() + self.timeout)
        return head[0] if head else 0

    def answer(self, head_only=False):
        """Reads the next answer, interim ones included."""
        deadline = time.monotonic() + self.timeout
        answer = Answer()
        while True:
            head = self._head(deadline)
            if head is None:
                return answer
            if head[0] != 100:
                break
            answer.interim.append(head[0])
        answer.status = head[0]
        for line in head[1]:
            name, _, value = line.partition(":")
            answer.headers.setdefault(name.strip().lower(), []).append(value.strip())
        length = answer.header("content-length")
        if head_only or answer.status in (204, 304):
            return answer
        if length is None:
            while self._more(deadline):
                pass
            answer.body, self.buffer = self.buffer, b""
            return answer
        while len(self.buffer) < int(length):
            if not self._more(deadline):
                break
        answer.body, self.buffer = self.buffer[:int(length)], self.buffer[int(length):]
        return answer

    def is_silent(self, timeout):
        """Whether nothing comes for as long as `timeout`."""
        return not self.buffer and not select.select([self.socket], [], [], timeout)[0]

    def is_closed(self, timeout=6.0):
        """Whether the other end closes the connection in time, and says nothing before. Silence alone ends one after ten seconds."""
        self.socket.settimeout(timeout)
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def seconds_until_closed(self, timeout):
        """When the other end closes, in seconds from now, with all it says until then kept."""
        begin = time.monotonic()
        try:
            while self._more(begin + timeout):
                pass
        except TimeoutError:
            return None
        return time.monotonic() - begin
