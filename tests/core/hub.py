"""As much of the hub, on a real socket, as a download of a pinned revision asks for."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core.wheel_index import sha256

COMMIT = "a" * 40


class Hub:
    """Serves repositories, each at `COMMIT` alone.

    Args:
        repositories: Bytes by path, by OWNER/NAME.
    """

    def __init__(self, repositories):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repositories))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(repositories):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.wfile.write(self.answer())

        def answer(self):
            data, headers = b"", {}
            name = "/".join(self.path.removeprefix("/api/models").split("/")[1:3])
            files = repositories.get(name, {})
            if f"/tree/{COMMIT}" in self.path:
                listed = [
                    {"type": "file", "path": path, "size": len(data), "oid": sha256(data)[:40]}
                    for path, data in files.items()
                ]
                data, headers = json.dumps(listed).encode(), {"Content-Type": "application/json"}
            elif f"/resolve/{COMMIT}/" in self.path:
                data = files[self.path.rpartition("/")[2]]
                headers = {"ETag": f'"{sha256(data)[:40]}"', "X-Repo-Commit": COMMIT}
            self.send_response(200 if data else 404)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return data

    return Handler
