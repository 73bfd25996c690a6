"""One POST to one checked address: pinned, no redirects, bounded in time and size, TLS by name."""

import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from receiver import Receiver

from triptych.core.errors import WebhookNotAllowed
from triptych.core.settings import Settings
from triptych.services.poster import NameLookup, Poster
from triptych.services.webhook_rules import WebhookRules
from triptych.services.webhook_url import WebhookUrl


@pytest.fixture
def listen():
    """Starts receivers."""
    receivers = []

    def start(*args, **options):
        receivers.append(Receiver(*args, **options))
        return receivers[-1]

    yield start
    for each in receivers:
        each.close()


class Names:
    """A name server that answers in turn, the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def poster(names, *, private=True, tls=None):
    rules = WebhookRules(Settings(_env_file=None, webhook_private=private))
    return Poster(names, rules.check_addresses, tls or ssl.create_default_context())


async def post(sender, url, timeout_s=20):
    return await sender.post(WebhookUrl.parse(url), [("x-a", "b")], b"body", timeout_s=timeout_s)


async def test_a_name_is_looked_up_once_and_its_address_is_what_is_connected_to(listen):
    """A name that changes its address between check and connection (DNS rebinding) gains nothing."""
    first = listen("127.0.0.1")
    second = listen("127.0.0.2", first.port)
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    sender = poster(names)
    # Nobody but our name server knows this name: a second look-up would fail.
    answer = await post(sender, f"http://rebinding.invalid:{first.port}/hook?x=1")
    assert (answer.status, answer.error) == (204, "")
    assert names.asked == ["rebinding.invalid"]
    got = first.requests.get(timeout=20)
    assert second.requests.empty()
    assert (got.path, got.body, got.headers["x-a"]) == ("/hook?x=1", b"body", "b")
    assert got.headers["host"] == f"rebinding.invalid:{first.port}"


async def test_a_rebound_name_is_refused_as_soon_as_its_address_is_private(listen):
    receiver = listen()
    for answers in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"]):
        with pytest.raises(WebhookNotAllowed, match="private"):
            await post(poster(Names(answers), private=False), f"http://rebinding.invalid:{receiver.port}/")
    assert receiver.requests.empty()


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f000001"])
async def test_spellings_of_loopback_are_seen_through(listen, name):
    receiver = listen()
    sender = poster(NameLookup(1), private=False)
    try:
        await post(sender, f"http://{name}:{receiver.port}/")
    except WebhookNotAllowed:
        pass
    else:
        pytest.fail("it was connected to")
    assert receiver.requests.empty()


async def test_the_next_address_is_tried_when_nobody_listens_at_the_first(listen):
    receiver = listen("127.0.0.2")
    answer = await post(poster(Names(["127.0.0.1", "127.0.0.2"])), f"http://h.invalid:{receiver.port}/")
    assert answer.status == 204


async def test_a_redirect_is_an_answer_and_is_not_followed(listen):
    elsewhere, receiver = listen(), listen()
    receiver.answers = [(302, {"location": elsewhere.url})]
    assert (await post(poster(NameLookup(1)), receiver.url)).status == 302
    assert elsewhere.requests.empty()


async def test_no_proxy_is_asked(listen, monkeypatch):
    proxy, receiver = listen(), listen()
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await post(poster(NameLookup(1)), receiver.url)).status == 204
    assert proxy.requests.empty()


@pytest.mark.parametrize(("header", "least", "most"), [("120", 120, 120), ("soon", 0, 0), ("-1", 0, 0), ("", 0, 0)])
async def test_a_receiver_says_when_to_come_back(listen, header, least, most):
    receiver = listen()
    receiver.answers = [(503, {"retry-after": header})]
    answer = await post(poster(NameLookup(1)), receiver.url)
    assert answer.status == 503
    assert least <= answer.retry_after_s <= most


async def test_a_receiver_may_say_it_as_a_date(listen):
    receiver = listen()
    receiver.answers = [(429, {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"})]
    assert (await post(poster(NameLookup(1)), receiver.url)).retry_after_s > 1e6


class Talker:
    """A server that says the same to everybody, then hangs up, says it again and again, or says no more."""

    def __init__(self, words, then="hang up"):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._words, self._then = words, then
        self._closed = threading.Event()
        threading.Thread(target=self._talk, daemon=True).start()

    def _talk(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    request = b""
                    # What is left unread would become a reset.
                    while not request.endswith(b"body"):
                        request += connection.recv(65536)
                    connection.sendall(self._words)
                    while self._then == "repeat":
                        connection.sendall(self._words)
                    if self._then == "wait":
                        self._closed.wait()
                except OSError:
                    pass

    def close(self):
        self._closed.set()
        self._socket.close()


@pytest.mark.parametrize(
    ("words", "then", "says"),
    [
        (b"", "hang up", "no answer in HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "hang up", "no answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: ", "hang up", "no answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: ", "repeat", "no answer in HTTP"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "repeat", "no answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: ", "wait", "timed out"),
        (b"", "wait", "timed out"),
    ],
)
async def test_whatever_answers_an_attempt_ends(words, then, says):
    talker = Talker(words, then)
    timeout_s = 0.2 if then == "wait" else 20
    assert (await post(poster(NameLookup(1)), talker.url, timeout_s=timeout_s)).error == says
    talker.close()


async def test_nobody_listening_and_no_such_host_are_told_apart(listen):
    receiver = listen()
    receiver.close()
    assert (await post(poster(NameLookup(1)), receiver.url)).error == "connection refused"

    async def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert (await post(poster(unknown), "http://h.invalid/")).error == "no such host"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Certificate and key of hooks.invalid, signed by itself."""
    if not shutil.which("openssl"):
        if os.environ.get("CI"):
            pytest.fail("openssl is missing")
        pytest.skip("openssl is not installed here")
    folder = tmp_path_factory.mktemp("tls")
    paths = (str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=hooks.invalid", "-addext", "subjectAltName=DNS:hooks.invalid",
            "-out", paths[0], "-keyout", paths[1],
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return paths


async def test_tls_is_verified_against_the_name_although_an_address_is_connected_to(listen, certificate):
    receiver = listen(tls=certificate)
    trusting = ssl.create_default_context(cafile=certificate[0])
    names = Names(["127.0.0.1"])
    answer = await post(poster(names, tls=trusting), f"https://hooks.invalid:{receiver.port}/hook")
    assert (answer.status, answer.error) == (204, "")
    assert receiver.names == ["hooks.invalid"]
    other = await post(poster(names, tls=trusting), f"https://other.invalid:{receiver.port}/hook")
    assert other.error.startswith("TLS: Hostname mismatch")
    unknown = await post(poster(names), f"https://hooks.invalid:{receiver.port}/hook")
    assert unknown.error.startswith("TLS: self")
    assert receiver.requests.qsize() == 1
