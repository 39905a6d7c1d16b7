"""The webhook: told to a real server, within a limit, and its address is nobody else's business."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.exchange.exporting.webhook import BadAddress, NotSent, refuse, send

SECRET = "T000-very-secret"


class Chat(HTTPServer):
    """Remembers what it was sent; ``answer`` is its status, ``silent`` keeps it from answering at all."""

    answer = 200
    silent = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, str, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], body))
        if self.server.silent:
            return
        self.send_response(self.server.answer)
        if self.server.answer in (301, 302, 307, 308):
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def chat(**how: object) -> Iterator[Chat]:
    server = Chat()
    for name, value in how.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_message_arrives_as_json():
    with chat() as server:
        send(server.address, json.dumps({"text": "PASS"}).encode())
    assert server.got == [(f"/hook/{SECRET}", "application/json", b'{"text": "PASS"}')]


@pytest.mark.parametrize("answer", [400, 403, 500])
def test_a_refusal_is_told_without_the_address(answer):
    with chat(answer=answer) as server, pytest.raises(NotSent) as caught:
        send(server.address, b"{}")
    assert str(caught.value) == f"127.0.0.1 answered {answer}"


@pytest.mark.parametrize("answer", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(answer):
    with chat(answer=answer) as server, pytest.raises(NotSent):
        send(server.address, b"{}")
    assert len(server.got) == 1


def test_a_server_that_hangs_up_is_told_without_the_address():
    with chat(silent=True) as server, pytest.raises(NotSent) as caught:
        send(server.address, b"{}")
    assert SECRET not in str(caught.value)


def test_nobody_there_is_told_without_the_address():
    with chat() as server:
        gone = server.address
    with pytest.raises(NotSent) as caught:
        send(gone, b"{}", 2.0)
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://chat.example/x", "ftp://chat.example/x", "file:///etc/passwd", "", "chat.example", "https://", "http://[::1",
     "http://localhost.evil.example/x", "http://127.0.0.1.evil.example/", "https://host:port/x"],
)  # fmt: skip
def test_an_address_in_the_clear_or_none_at_all_is_refused(address):
    with pytest.raises(BadAddress) as caught:
        refuse(address)
    assert len(address) < 9 or address not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["https://hooks.example/T/B/x", "http://localhost:8065/h", "http://127.0.0.1/x", "http://[::1]:80/x"],
)
def test_https_and_this_machine_are_taken(address):
    refuse(address)


@given(st.text())
def test_no_address_crashes(address):
    try:
        refuse(address)
    except BadAddress as error:
        assert "--webhook" in str(error)
