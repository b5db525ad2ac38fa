"""As much of Ironic's API as an agent needs: lookup and heartbeat."""

import http.server
import json
import threading

NODE = "5d0f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e11"
TOKEN = "token-of-the-machine-that-is-asked-0123456789"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/v1/lookup"):
            self.answer(200, {
                "node": {"uuid": NODE, "properties": {}, "instance_info": {}, "driver_internal_info": {}},
                "config": {"heartbeat_timeout": 300, "agent_token": TOKEN, "agent_token_required": True, "metrics": {
                    "backend": "noop", "prepend_host": False, "prepend_uuid": False, "prepend_host_reverse": True,
                    "global_prefix": None}, "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125}}})
        else:
            self.answer(200, {"id": "v1", "version": {"id": "v1", "min_version": "1.1", "version": "1.68", "status": "CURRENT"},
                              "default_version": {"id": "v1", "min_version": "1.1", "version": "1.68"}})

    def do_POST(self):
        beat = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(202 if beat.get("agent_token") == TOKEN else 400, None)

    def answer(self, status, document):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-OpenStack-Ironic-API-Maximum-Version", "1.68")
        self.send_header("X-OpenStack-Ironic-API-Minimum-Version", "1.1")
        self.send_header("X-OpenStack-Ironic-API-Version", "1.68")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: the gateways log."""


def serve():
    """Starts it on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
