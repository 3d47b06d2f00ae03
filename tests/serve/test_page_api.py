"""The addresses of the page: everything that it shows and keeps, over HTTP."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sonoseg.core.resize import enlarge
from sonoseg.serve.app import build_app
from sonoseg.serve.guard import COOKIE
from sonoseg.serve.patch import from_text, to_text
from sonoseg.serve.session import Session

ADDRESS = "http://127.0.0.1:8417"
TOKEN = "correct-horse-battery"


@pytest.fixture
def page(segmenter, folder):
    with TestClient(build_app(segmenter, folder=folder), base_url=ADDRESS) as client:
        yield client


def identifier(page, stem="one"):
    entries = page.get("/api/images").json()["images"]
    return next(entry["id"] for entry in entries if entry["name"].startswith(stem))


def test_the_list_has_all_images(page):
    answer = page.get("/api/images").json()
    assert [entry["name"] for entry in answer["images"]] == [
        "one.png",
        "two.png",
        "zero.png",
    ]
    assert {entry["state"] for entry in answer["images"]} == {"open"}
    assert answer["labels"] == ["benign", "malignant", "normal", "uncertain"]


def test_an_image_comes_with_pixels_map_mask_and_measurements(page, segmenter, phantom):
    image = identifier(page)
    shown = page.get(f"/api/images/{image}").json()
    result = segmenter.segment(phantom[0])
    shape = shown["height"], shown["width"]
    np.testing.assert_array_equal(from_text(shown["mask"], *shape), result.mask)
    wanted = [{**lesion.to_dict(), "by_hand": False} for lesion in result.lesions]
    for lesion in wanted:
        lesion.pop("malignancy")
    assert shown["lesions"] == wanted
    pixels = page.get(f"/api/images/{image}/pixels.bmp").content
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(pixels))), phantom[0]
    )
    content = page.get(f"/api/images/{image}/map").content
    network_map = np.frombuffer(content, "<f4").reshape(shown["map"])
    np.testing.assert_array_equal(enlarge(network_map, shape), result.probability)
    thumbnail = Image.open(
        io.BytesIO(page.get(f"/api/images/{image}/thumbnail.png").content)
    )
    assert max(thumbnail.size) == 96
    heat = Image.open(io.BytesIO(page.get(f"/api/images/{image}/heat.png").content))
    assert heat.size == shape[::-1]


def test_edit_label_accept(page, folder):
    image = identifier(page)
    bits = to_text(np.ones((4, 5), bool))
    body = {
        "key": "k" * 10,
        "after": 0,
        "tool": "brush",
        "x": 3,
        "y": 2,
        "width": 5,
        "height": 4,
    }
    answer = page.post(f"/api/images/{image}/edits", json={**body, "bits": bits}).json()
    assert answer["undo"] == 1
    assert answer["patch"]["width"] == 5
    chosen = {"margin": "angular", "shape": "oval"}
    seen = {"words": answer["words"]}
    words = {"label": "benign", "birads": "2", "spacing": "0.1", "descriptors": chosen}
    words |= seen
    wrong = {**words, "descriptors": {"shape": "<b>"}}
    assert page.put(f"/api/images/{image}/finding", json=wrong).status_code == 422
    described = page.put(f"/api/images/{image}/finding", json=words).json()
    assert described["unit"] == "mm"
    assert page.get(f"/api/images/{image}").json()["finding"]["descriptors"] == chosen
    body = {"after": answer["revision"], "words": described["words"]}
    accepted = page.post(f"/api/images/{image}/accept", json=body).json()
    assert accepted["state"] == "accepted"
    mask = np.asarray(
        Image.open(folder / "annotations" / "reader" / "masks" / "one.png")
    )
    assert mask[2:6, 3:8].all()
    stale = page.post(f"/api/images/{image}/accept", json={**body, "after": 0})
    assert stale.status_code == 409


def test_calipers_are_put_down(page):
    address = f"/api/images/{identifier(page)}"
    shown = page.get(address).json()
    lines = [[10, 10, 60, 10], [20.5, 5, 20.5, 25]]
    body = {"key": "k" * 10, "after": 0, "tool": "calipers", "lines": lines}
    measured = {**body, **shown["lesions"][0]["box"]}
    wrong = {**measured, "lines": [[10, 10, 60], lines[1]]}
    assert page.post(f"{address}/edits", json=wrong).status_code == 422
    elsewhere = {**measured, "x": measured["x"] + 1}
    assert page.post(f"{address}/edits", json=elsewhere).status_code == 409
    answer = page.post(f"{address}/edits", json=measured).json()
    (lesion, *_) = answer["lesions"]
    assert (lesion["longest_diameter"], lesion["by_hand"]) == (50, True)
    assert (answer["undo"], answer["words"]) == (1, shown["words"])


def test_words_of_another_window_are_neither_replaced_nor_accepted_unseen(page, folder):
    address = f"/api/images/{identifier(page)}"
    seen = page.get(address).json()
    of_first = {**seen["finding"], "words": seen["words"], "label": "benign"}
    of_second = {**of_first, "label": "malignant", "note": "seen"}
    answer = page.put(f"{address}/finding", json=of_second).json()
    refused = page.put(f"{address}/finding", json=of_first)
    accepted = page.post(f"{address}/accept", json={"after": 0, "words": seen["words"]})
    assert (refused.status_code, accepted.status_code) == (409, 409)
    now = page.get(address).json()
    assert (now["finding"]["label"], now["finding"]["note"]) == ("malignant", "seen")
    assert now["words"] == answer["words"] != seen["words"]
    # The answer to the second window may have been lost: it sends the same again.
    assert page.put(f"{address}/finding", json=of_second).status_code == 200
    body = {"after": 0, "words": now["words"]}
    assert page.post(f"{address}/accept", json=body).json()["state"] == "accepted"


def test_an_image_whose_file_is_gone_is_not_withdrawn(page, folder):
    address = f"/api/images/{identifier(page)}"
    seen = page.get(address).json()["words"]
    body = {"words": seen, "label": "benign"}
    words = page.put(f"{address}/finding", json=body).json()["words"]
    page.post(f"{address}/accept", json={"after": 0, "words": words})
    (folder / "one.png").unlink()
    assert page.delete(f"{address}/accept").status_code == 404
    table = (folder / "annotations" / "reader" / "labels.csv").read_text()
    assert "one.png" in table


def test_refusals_do_not_tell_where_the_folder_is(page, folder):
    (folder / "broken.png").write_bytes(b"no image")
    image = identifier(page, "broken")
    for address in ("", "/pixels.bmp", "/map", "/thumbnail.png", "/heat.png"):
        answer = page.get(f"/api/images/{image}{address}")
        assert answer.status_code == 422
        assert str(folder.parent) not in answer.text
    address = f"/api/images/{identifier(page)}"
    body = {"after": 0, "words": page.get(address).json()["words"]}
    missing = page.post(f"{address}/accept", json=body)
    assert missing.status_code == 422
    assert missing.json()["subject"] == "label"


@pytest.mark.parametrize(
    "address",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "one.png",
        "0" * 16,
        "%00" * 16,
        "A" * 16,
    ],
)
def test_only_known_identifiers_are_served(page, address):
    answer = page.get(f"/api/images/{address}/pixels.bmp")
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text


@pytest.mark.parametrize("reader", ["", " ", "x" * 41, "a\nb\x1b", "\u202e"])
def test_names_of_readers_are_checked(page, reader):
    answer = page.get("/api/images", params={"reader": reader})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "../x"},
        {"after": "0"},
        {"extra": 1},
        {"x": 1.5},
        {"threshold": 1},
        {"key": ""},
    ],
)
def test_malformed_edits_are_refused(page, change):
    body = {"key": "k" * 10, "after": 0, "tool": "clear", **change}
    answer = page.post(f"/api/images/{identifier(page)}/edits", json=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"subject", "problem", "hint"}


def test_markup_in_names_notes_and_readers_is_only_text(page, folder, phantom_png):
    name = "<img src=x onerror=alert(1)>.png"
    (folder / name).write_bytes(phantom_png)
    image = identifier(page, "<img")
    answer = page.get(f"/api/images/{image}", params={"reader": "<script>"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["name"] == name
    assert answer.headers["x-content-type-options"] == "nosniff"
    for address in ("/", "/docs"):
        assert b"<img src=x" not in page.get(address).content


def test_upload_adds_an_image(page, folder, phantom_png):
    files = {"image": ("../new <b>.png", phantom_png)}
    image = page.post("/api/images", files=files).json()["id"]
    assert page.get(f"/api/images/{image}").json()["name"] == "new_b.png"
    assert (folder / "new_b.png").read_bytes() == phantom_png
    bad = page.post("/api/images", files={"image": ("x.png", b"nothing")})
    assert bad.status_code == 422


def test_login_gives_a_cookie_that_scripts_cannot_read(segmenter, folder):
    app = build_app(segmenter, token=TOKEN, folder=folder)
    with TestClient(app, base_url=ADDRESS) as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/images").status_code == 401
        assert client.post("/api/login", json={"token": "wrong"}).status_code == 401
        answer = client.post("/api/login", json={"token": TOKEN})
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert COOKIE in client.cookies
        assert client.get("/api/images").status_code == 200


def test_without_a_folder_the_page_says_so(client):
    answer = client.get("/api/images")
    assert answer.status_code == 404
    assert "sonoseg serve FOLDER" in answer.json()["hint"]


def test_base64_of_the_mask_is_plain(page):
    shown = page.get(f"/api/images/{identifier(page)}").json()
    assert (
        len(base64.b64decode(shown["mask"]))
        == (shown["width"] * shown["height"] + 7) // 8
    )


def test_an_unexpected_error_tells_no_name(segmenter, folder, monkeypatch, caplog):
    def fail(*_):
        raise OSError("/secret/Anna.png")

    monkeypatch.setattr(Session, "entries", fail)
    app = build_app(segmenter, folder=folder)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        answer = client.get("/api/images")
    assert answer.status_code == 500
    assert set(answer.json()) == {"subject", "problem", "hint"}
    messages = [record.getMessage() for record in caplog.records]
    assert any("OSError" in message for message in messages)
    assert "Anna" not in answer.text + " ".join(messages)


def test_huge_images_of_the_folder_are_refused_before_they_are_decoded(page, folder):
    Image.new("1", (6000, 6000)).save(folder / "huge.png")
    image = identifier(page, "huge")
    for address in ("", "/thumbnail.png", "/pixels.bmp"):
        answer = page.get(f"/api/images/{image}{address}")
        assert answer.status_code == 422
        assert "megapixels" in answer.json()["problem"]


def test_a_full_disk_is_the_servers_fault_so_that_the_page_sends_again(
    segmenter, folder
):
    app = build_app(segmenter, folder=folder)
    with TestClient(app, base_url=ADDRESS) as client:
        address = f"/api/images/{identifier(client)}"
        words = client.get(address).json()["words"]
        database = app.state.service.session._journal._database
        ((pages,),) = database.run("PRAGMA page_count")
        database.run(f"PRAGMA max_page_count = {pages}")
        bits = to_text(np.random.default_rng(1).random((256, 256)) > 0.5)
        edit = {"tool": "brush", "width": 256, "height": 256, "bits": bits}
        note = {"words": words, "note": "é" * 4000}
        answers = [
            client.post(f"{address}/edits", json={**edit, "key": "k" * 10, "after": 0}),
            client.put(f"{address}/finding", json=note),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["subject"]) == (503, "server")
        assert "full" in answer.json()["problem"]
        assert "move" not in answer.json()["hint"]
