"""The way from the agent to a gateway, whose connections can be broken."""

import socket
import struct
import threading

# Closes without a farewell.
RESET = struct.pack("ii", 1, 0)


class Cable:
    """Passes connections to a port on loopback, until they are cut."""

    def __init__(self, name, port, target):
        self.name, self.target = name, target
        self.lock, self.ends = threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self.lock:
                self.ends = [end for end in self.ends if end.fileno() >= 0] + [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def kill(self):
        """Breaks every connection: both sides get a reset."""
        with self.lock:
            ends, self.ends = self.ends, []
        for end in ends:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
                end.close()
            except OSError:
                pass

    def start(self):
        """Nothing: new connections are passed all the time."""
