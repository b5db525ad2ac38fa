"""The web server for images, kernels and ramdisks, in a thread of ours."""

import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class WebServer:
    """Serves files below `root` with HEAD and ranges, and counts what it sent and how often it began to. `rates` has bytes per
    second by name, and may change while a file is sent."""

    def __init__(self, root, port, rates):
        self.root, self.rates, self.sent, self.begun = Path(root).resolve(), rates, {}, {}
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        path = (self.root / unquote(request.path.partition("?")[0]).lstrip("/"))
        # The last part may be a link to a file outside; a path may not climb out.
        if not path.parent.resolve().is_relative_to(self.root) or not path.is_file():
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        partial = wanted is not None and int(wanted[1]) < size
        if wanted and partial:
            first = int(wanted[1])
            last = min(int(wanted[2]), last) if wanted[2] else last
        request.send_response(206 if partial else 200)
        request.send_header("Content-Length", str(last - first + 1))
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Last-Modified", request.date_time_string(path.stat().st_mtime))
        if partial:
            request.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        request.end_headers()
        if request.command == "GET":
            self.send(request, path, first, last + 1)

    def send(self, request, path, position, end):
        self.count(self.begun, path, 1)
        try:
            with open(path, "rb") as file:
                while position < end:
                    rate = self.rates.get(path.name)
                    most = min(end - position, max(1, int(rate)) if rate else 1 << 20, 1 << 20)
                    count = os.sendfile(request.connection.fileno(), file.fileno(), position, most)
                    if count == 0:
                        raise OSError("the file became shorter")
                    position += count
                    self.count(self.sent, path, count)
                    if rate:
                        time.sleep(count / rate)
        except OSError:
            request.close_connection = True

    def count(self, counts, path, more):
        with self.lock:
            counts[path.name] = counts.get(path.name, 0) + more
