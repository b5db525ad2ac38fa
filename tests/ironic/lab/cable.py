"""A way to ports that can be cut: every connection through it ends, and no new one is let through."""

import contextlib
import socket
import threading


class Cable:
    """Passes TCP connections to `port` on to the first of `targets`, ports of the loopback address, that takes them."""

    def __init__(self, port, *targets, host="0.0.0.0"):
        self.port, self.targets, self.host, self.is_cut = port, targets, host, False
        self.sockets, self.lock = set(), threading.Lock()
        self.server = socket.socket()

    def open(self):
        self.server = socket.create_server((self.host, self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        # Closing alone would not end the thread that waits.
        hang_up(self.server)
        self.server.close()
        self.cut()

    def cut(self):
        with self.lock:
            self.is_cut = True
            for end in self.sockets:
                hang_up(end)

    def mend(self):
        self.is_cut = False

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self.server.accept()
                threading.Thread(target=self.join, args=(near,), daemon=True).start()

    def join(self, near):
        with near, contextlib.suppress(OSError):
            far = self.connect()
            far.settimeout(None)
            with far:
                self.pass_on(near, far)

    def connect(self):
        for target in self.targets[:-1]:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", target), timeout=10)
        return socket.create_connection(("127.0.0.1", self.targets[-1]), timeout=10)

    def pass_on(self, near, far):
        with self.lock:
            if self.is_cut:
                return
            self.sockets |= {near, far}
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()
        with self.lock:
            self.sockets -= {near, far}


def pump(source, drain):
    """Until either end hangs up; then the other one is hung up, too."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            drain.sendall(data)
    hang_up(source)
    hang_up(drain)


def hang_up(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
