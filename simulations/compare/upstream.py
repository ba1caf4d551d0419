"""The registry that the peers take the large document from: files of one folder, on loopback."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Files(SimpleHTTPRequestHandler):
    """Says nothing about each request; all is JSON."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def guess_type(self, _):
        return "application/json"


class Upstream:
    """Serves until `stop`."""

    def __init__(self, folder):
        handler = functools.partial(Files, directory=folder)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
