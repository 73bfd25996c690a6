"""A small real server of chat completions on a loopback port: it keeps every byte that came, and fails on demand.

python tests/chat_server.py FILE     a process of its own: prints its port, appends what it receives to FILE
"""

import json
import queue
import socket
import sys
import threading

import h11

# A request with this in it hangs, whatever the plans say: how a test tells a server in another process.
HANG = b"HANG"
PIECES = ("The ", "total ", "is ", "42.")


class ChatServer:
    """Listens on a loopback address until it is closed.

    What it does with a request says the next of `plans`, a dict; without one it answers well.

        pieces: texts of the answer; usage: (read, written), or None to tell none; finish: reason, or None to tell none
        status, headers, body: answers with this status instead
        hang: says nothing, at once ("headers") or after the first piece ("text"), until the caller has gone
        cut: closes after so many pieces
        raw: data of one more event, instead of the answer
        gate: threading.Event that is waited for before the answer

    Attributes:
        received: Every byte that came, of all connections.
        requests: JSON of the requests, in order.
        headers: Theirs.
        gone: Gets an item whenever a caller has closed a connection that hung.
        most: The most requests that were under way at a time.
    """

    def __init__(self, log=None):
        self.received = bytearray()
        self.connections = 0
        self.requests, self.headers, self.plans = [], [], []
        self.gone = queue.Queue()
        self.now = self.most = 0
        self._log = log
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
            try:
                while self._one(connection, http):
                    http.start_next_cycle()
            except (OSError, h11.RemoteProtocolError):
                return

    def _receive(self, connection):
        data = connection.recv(65536)
        with self._lock:
            self.received += data
            if self._log:
                self._log.write(data)
                self._log.flush()
        return data

    def _one(self, connection, http):
        """Serves one request; says whether the connection goes on."""
        body, headers = b"", {}
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(self._receive(connection))
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode() for name, value in event.headers} | {
                    "path": event.target.decode()
                }
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        with self._lock:
            self.requests.append(json.loads(body))
            self.headers.append(headers)
            plan = self.plans.pop(0) if self.plans else {"hang": "text"} if HANG in body else {}
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return self._answer(connection, http, plan)
        finally:
            with self._lock:
                self.now -= 1

    def _answer(self, connection, http, plan):
        def send(*events):
            connection.sendall(b"".join(http.send(event) or b"" for event in events))

        def say(data):
            send(h11.Data(data=f"data: {data}\n\n".encode()))

        if "gate" in plan:
            assert plan["gate"].wait(30)
        if plan.get("hang") == "headers":
            return self._until_gone(connection)
        if "status" in plan:
            body = plan.get("body", b"{}")
            length = ("content-length", str(len(body)))
            reply = h11.Response(status_code=plan["status"], headers=[length, *plan.get("headers", {}).items()])
            send(reply, h11.Data(data=body), h11.EndOfMessage())
            return True
        send(
            h11.Response(
                status_code=200, headers=[("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
            )
        )
        if "raw" in plan:
            say(plan["raw"])
            send(h11.EndOfMessage())
            return True
        say(_chunk({"role": "assistant", "content": ""}))
        for number, piece in enumerate(plan.get("pieces", PIECES)):
            if plan.get("cut") == number:
                return False
            say(_chunk({"content": piece}))
            if plan.get("hang") == "text":
                return self._until_gone(connection)
        if (finish := plan.get("finish", "stop")) is not None:
            say(_chunk({}, finish))
        usage = plan.get("usage", (100, len(plan.get("pieces", PIECES))))
        if usage:
            told = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
            say(json.dumps({"model": "tiny-chat-2", "choices": [], "usage": told}))
        if finish is not None:
            say("[DONE]")
        send(h11.EndOfMessage())
        return True

    def _until_gone(self, connection):
        while self._receive(connection):
            pass
        self.gone.put(True)
        return False


def _chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"model": "tiny-chat-2", "choices": [choice]})


if __name__ == "__main__":
    with open(sys.argv[1], "ab") as file:  # noqa: PTH123 - a script
        server = ChatServer(file)
        print(server.port, flush=True)
        threading.Event().wait()
