"""A real HTTP server that is told the ends of jobs, and answers as its test wants."""

import queue
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    path: str
    headers: dict
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver.requests.put(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        receiver.gate.wait()
        status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


class Receiver:
    """Listens on a loopback address until it is closed; 204 is its answer when the test names no other.

    `answers` holds (status, headers) in order; a closed `gate` makes it slow.
    """

    def __init__(self, host="127.0.0.1", port=0, tls=None):
        self.requests = queue.Queue()
        self.answers = []
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer((host, port), _Handler)
        self._server.daemon_threads = True
        self._server.receiver = self
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.names = []
        self.host = host
        self.port = self._server.server_port
        self.url = f"http://{host}:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
