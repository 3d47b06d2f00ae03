"""Hostile requests: foreign pages, wrong names, no token, too much, too slow, too large when decoded."""

import asyncio
import io
import logging
import re
import struct
import zlib

import numpy as np
import pydicom
import pytest
from fastapi.routing import APIRoute
from PIL import Image
from starlette.testclient import TestClient

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.errors import InputError
from sonoseg.serve import page_api, remote_api
from sonoseg.serve.app import build_app
from sonoseg.serve.guard import COOKIE, cookie_of, read_token
from sonoseg.serve.limits import BodyLimit, Limits
from sonoseg.serve.refusal import Refused

ADDRESS = "http://127.0.0.1:8417"
TOKEN = "correct-horse-battery"


def post(client, content, **options):
    return client.post("/api/segment", files={"image": ("a.png", content)}, **options)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:8417",
        "",
        "localhost@evil.example",
        "[::1",
    ],
)
def test_foreign_host_names_are_refused(client, host):
    answer = client.get("/api/model", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["subject"] == "Host"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8417", "localhost", "[::1]:8417", "LOCALHOST:1"]
)
def test_own_host_names_are_taken(client, host):
    assert client.get("/api/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "file://127.0.0.1:8417"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_are_refused(client, phantom_png, headers):
    assert post(client, phantom_png, headers=headers).status_code == 403


def test_the_own_page_is_served(client, phantom_png):
    headers = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
    assert post(client, phantom_png, headers=headers).status_code == 200


def test_token_is_demanded_and_taken_as_header_or_cookie(segmenter, phantom_png):
    client = TestClient(
        build_app(segmenter, "0.0.0.0", TOKEN), base_url="http://box:8417"
    )
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": "a=\x7f\u00e9".encode("latin-1")},
    ):
        answer = post(client, phantom_png, headers=headers)
        assert answer.status_code == 401
        assert client.get("/metrics", headers=headers).status_code == 401
    assert (
        post(
            client, phantom_png, headers={"authorization": f"Bearer {TOKEN}"}
        ).status_code
        == 200
    )
    cookie = {"cookie": f"{COOKIE}={cookie_of(TOKEN)}"}
    assert post(client, phantom_png, headers=cookie).status_code == 200
    for others in ("theme=dark; ", 'prefs={"a":1}; ', "user=Anna Meier; ", "=; é; "):
        headers = {"cookie": (others + cookie["cookie"]).encode("latin-1")}
        assert client.get("/metrics", headers=headers).status_code == 200
    assert client.get("/healthz").status_code == 200


def addresses(app):
    """Method and path of every address, with something in place of its variable parts."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"\{[a-z_]+\}", "x", path)
    for route in (*api_routes(page_api), *api_routes(remote_api)):
        for method in route.methods:
            yield method, re.sub(r"\{[a-z_]+\}", "x", route.path)


def api_routes(module):
    return [route for route in module.router.routes if isinstance(route, APIRoute)]


def test_every_address_but_the_bare_page_demands_the_token(segmenter):
    app = build_app(segmenter, "0.0.0.0", TOKEN)
    client = TestClient(app, base_url="http://box:8417")
    found = set(addresses(app))
    assert ("POST", "/infer/x") in found
    assert ("PUT", "/datastore/label") in found
    assert ("POST", "/api/studies/x") in found
    assert len(found) > 25
    is_open = set()
    for method, path in found:
        if client.request(method, path).status_code != 401:
            is_open.add(path)
    assert is_open == {"/healthz", "/studies", "/api/login"}


def test_no_address_answers_a_foreign_page(segmenter):
    app = build_app(segmenter)
    client = TestClient(app, base_url=ADDRESS)
    for method, path in addresses(app):
        headers = {"origin": "http://evil.example"}
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403, path
        assert "access-control-allow-origin" not in answer.headers


def test_weak_tokens_are_refused(tmp_path):
    path = tmp_path / "token"
    for text in ("", "short", "two words of a long token"):
        path.write_text(text)
        with pytest.raises(InputError):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN


def test_every_answer_forbids_foreign_scripts(client):
    for address in ("/api/model", "/nothing", "/healthz"):
        policy = client.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    refused = client.get("/api/model", headers={"host": "evil.example"})
    assert "content-security-policy" in refused.headers


def test_a_body_that_says_it_is_too_large_is_not_read(segmenter):
    client = TestClient(
        build_app(segmenter, limits=Limits(body_bytes=1000)), base_url=ADDRESS
    )
    answer = post(client, b"x" * 2000)
    assert answer.status_code == 413
    assert answer.json()["hint"]


def test_an_endless_body_is_cut(segmenter):
    client = TestClient(
        build_app(segmenter, limits=Limits(body_bytes=100_000)), base_url=ADDRESS
    )
    sent = 0

    def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        while sent < 10_000_000:
            sent += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/api/segment", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_a_slow_body_is_cut():
    scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}

    async def slow():
        await asyncio.sleep(20)

    async def app(_scope, receive, _send):
        await receive()

    async def run():
        await BodyLimit(app, Limits(body_seconds=0.05))(scope, slow, None)

    with pytest.raises(Refused) as refused:
        asyncio.run(run())
    assert refused.value.status_code == 408


def bomb(mode, side):
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, "PNG")
    return file.getvalue()


def test_images_that_are_huge_when_decoded_are_refused(client):
    content = bomb("1", 6000)
    assert len(content) < 100_000
    answer = post(client, content)
    assert answer.status_code == 422
    assert "25 megapixels" in answer.json()["problem"]


def test_text_that_is_huge_when_inflated_is_refused(client):
    packed = zlib.compress(bytes(40_000_000))
    chunk = b"zTXtComment\0\0" + packed
    sum_of = struct.pack(">I", zlib.crc32(chunk))
    content = bomb("L", 64)
    place = content.index(b"IDAT") - 4
    length = struct.pack(">I", len(chunk) - 4)
    answer = post(client, content[:place] + length + chunk + sum_of + content[place:])
    assert answer.status_code == 422


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_text_in_dicom_is_only_ever_json(client, tmp_path):
    write_dicom_phantoms(tmp_path, 1)
    (path,) = (tmp_path / "images").iterdir()
    dataset = pydicom.dcmread(path)
    script = "<script>"
    dataset.PatientName = dataset.StudyDescription = script
    dataset.Modality, dataset.SOPClassUID = script, "1.2.840.10008.5.1.4.1.1.2"
    dataset.ImageComments = dataset.Manufacturer = script
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    answer = post(client, buffer.getvalue())
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>" * 50]
)
def test_what_is_no_image_is_refused(client, content):
    answer = post(client, content)
    assert answer.status_code == 422
    assert set(answer.json()) == {"subject", "problem", "hint"}


def test_names_reach_neither_answers_nor_logs_nor_files(
    client, phantom_png, caplog, tmp_path
):
    name = "../../../../etc/Anna<script>alert(1)</script>.png"
    secret = tmp_path / "secret.png"
    secret.write_bytes(phantom_png)
    with caplog.at_level(logging.DEBUG):
        good = client.post("/api/segment", files={"image": (name, phantom_png)})
        bad = client.post("/api/segment", files={"image": (str(secret), b"no image")})
        text = client.post("/api/segment", data={"image": str(secret)})
        client.get("/Anna/<script>")
    assert good.status_code == 200
    assert bad.status_code == text.status_code == 422
    said = good.text + bad.text + text.text + client.get("/metrics").text
    for record in caplog.records:
        if record.name.startswith(("sonoseg", "uvicorn", "fastapi")):
            said += record.getMessage()
    assert "Anna" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/page/../app.py", "/page/%2e%2e/app.py"]
)
def test_no_path_of_a_client_is_opened(client, path):
    assert client.get(path).status_code == 404


def test_noise_of_any_kind_never_breaks_the_server(client):
    generator = np.random.default_rng(0)
    for length in (1, 100, 5000):
        content = generator.integers(0, 256, length, np.uint8).tobytes()
        assert post(client, content).status_code == 422
        headers = {"content-type": "multipart/form-data; boundary=b"}
        broken = client.post("/api/segment", content=content, headers=headers)
        assert 400 <= broken.status_code < 500
