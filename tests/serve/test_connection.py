"""Clients that are too slow: real connections to the server that `sonoseg serve` runs, with a small application."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from sonoseg.serve.command import server_of
from sonoseg.serve.limits import Limits

LIMITS = Limits(header_seconds=1.0, answer_seconds=1.0)
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LARGE = 40_000_000
SECONDS = 60


async def application(scope, receive, send):
    """Answers how long the body is; /large answers with many bytes."""
    assert scope["type"] == "http"
    length, has_more = 0, True
    while has_more:
        message = await receive()
        length += len(message.get("body", b""))
        has_more = message.get("more_body", False)
    content = bytes(LARGE) if scope["path"] == "/large" else f"{length} bytes".encode()
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def port():
    listener = socket.create_server(("127.0.0.1", 0))
    server = server_of(application, LIMITS)
    server.config.lifespan = "off"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(SECONDS)


@pytest.fixture
def client(port):
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        yield client


def answer_to(client, request):
    """Sends a request and reads its short answer to the end."""
    client.sendall(request)
    answer = b""
    while not answer.endswith(b" bytes"):
        chunk = client.recv(1000)
        assert chunk, answer
        answer += chunk
    return answer


def is_closed_while_sending(client, letters):
    """Sends one letter after the other until the server closes the connection."""
    client.settimeout(0.02)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            client.sendall(next(letters))
            if client.recv(1000) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def drip():
    yield b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    while True:
        yield b"a"


def test_headers_that_come_letter_by_letter_are_cut(client):
    assert is_closed_while_sending(client, drip())


def test_a_client_that_says_nothing_is_cut(client):
    assert client.recv(1000) == b""


def test_the_headers_of_a_second_request_are_cut_as_well(client):
    assert answer_to(client, REQUEST).endswith(b"0 bytes")
    assert is_closed_while_sending(client, drip())


def test_a_body_has_its_own_time(client):
    client.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n1")
    time.sleep(2 * LIMITS.header_seconds)
    assert answer_to(client, b"2").endswith(b"2 bytes")
    assert answer_to(client, REQUEST).endswith(b"0 bytes")


def test_an_answer_that_is_not_read_is_cut(client):
    client.sendall(REQUEST.replace(b"/ ", b"/large ", 1))
    time.sleep(3 * LIMITS.answer_seconds)
    length = 0
    try:
        while chunk := client.recv(1 << 20):
            length += len(chunk)
    except ConnectionResetError:
        pass
    assert length < LARGE


def test_an_answer_that_is_read_arrives(client):
    client.sendall(REQUEST.replace(b"/ ", b"/large ", 1))
    length = 0
    while length < LARGE:
        chunk = client.recv(1 << 20)
        assert chunk
        length += len(chunk)
