"""The addresses for programs: answers equal the reader's, refusals are JSON."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sonoseg.core.measure import find_lesions
from sonoseg.reader.segment_files import segment_files
from sonoseg.serve.app import build_app
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused


def picture(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def send(client, content, address="/api/segment", **fields):
    return client.post(address, files={"image": ("scan.png", content)}, data=fields)


def test_mask_equals_that_of_the_command(client, folder, tmp_path):
    segment_files([folder], "default", tmp_path / "out")
    for name in ("one", "two", "zero"):
        answer = send(client, (folder / f"{name}.png").read_bytes()).json()
        mask = np.asarray(Image.open(tmp_path / "out" / f"{name}_mask.png"))
        np.testing.assert_array_equal(picture(answer["mask"]), mask)


def test_answer_has_lesions_spacing_model_and_heat(
    client, phantom_png, segmenter, phantom
):
    answer = send(client, phantom_png, spacing="0.1,0.2", explain="true").json()
    result = segmenter.segment(phantom[0], (0.1, 0.2), explain=True)
    assert answer["model"] == {
        "name": segmenter.card.name,
        "version": segmenter.card.version,
        "sha256": segmenter.sha256,
        "sensitivity": segmenter.sensitivity,
    }
    assert answer["spacing"]["mm_per_pixel"] == [0.1, 0.2]
    assert answer["unit"] == "mm"
    measured = [lesion.to_dict() for lesion in result.lesions]
    assert len(measured) > 0
    for lesion, wanted in zip(answer["lesions"], measured, strict=True):
        assert len(lesion.pop("contour")[0]) > 3
        assert lesion.pop("unit") == "mm"
        assert lesion == wanted
    np.testing.assert_allclose(picture(answer["heat"]) / 255, result.heat, atol=0.003)


def test_threshold_moves_the_mask(client, phantom_png, segmenter, phantom):
    own = segmenter.card.threshold
    areas = {}
    for threshold in (0.05, own, 0.95):
        answer = send(client, phantom_png, threshold=threshold).json()
        assert answer["threshold"] == threshold
        areas[threshold] = np.count_nonzero(picture(answer["mask"]))
    assert areas[0.05] > areas[own] > areas[0.95]
    assert areas[own] == np.count_nonzero(segmenter.segment(phantom[0]).mask)


def test_a_threshold_is_not_taken_where_it_has_no_use(
    client, phantom, phantom_png, to_png
):
    mask = to_png(phantom[1].astype(np.uint8) * 255)
    files = {"image": ("a.png", phantom_png), "mask": ("mask.png", mask)}
    answer = client.post("/api/refine", files=files, data={"threshold": "0.9"})
    assert (answer.status_code, answer.json()["subject"]) == (422, "threshold")


def test_refine_removes_and_adds(client, phantom_png, phantom):
    y, x = np.argwhere(phantom[1]).mean(0).astype(int)
    gone = send(client, phantom_png, "/api/refine", remove=f"{x},{y}").json()
    assert not picture(gone["mask"])[y, x]
    empty = base64.b64decode(gone["mask"])
    files = {"image": ("scan.png", phantom_png), "mask": ("mask.png", empty)}
    again = client.post("/api/refine", files=files, data={"add": f"{x},{y}"}).json()
    mask = picture(again["mask"]) > 0
    assert 2 * (mask & phantom[1]).sum() / (mask.sum() + phantom[1].sum()) > 0.8
    probability = np.zeros(mask.shape, np.float32)
    assert again["lesions"][0]["area"] == find_lesions(mask, probability)[0].pixels
    boxed = client.post("/api/refine", files=files, data={"box": "1,1,200,200"})
    assert boxed.status_code == 200


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({"spacing": "wide"}, "spacing"),
        ({"threshold": "2"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"explain": "perhaps"}, "explain"),
    ],
)
def test_bad_options_are_named(client, phantom_png, fields, subject):
    answer = send(client, phantom_png, **fields)
    assert answer.status_code == 422
    assert set(answer.json()) == {"subject", "problem", "hint"}
    assert answer.json()["subject"] == subject


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("add", "5"),
        ("add", "9999,1"),
        ("add", "1,1;" * 51),
        ("remove", "a,b"),
        ("box", "0,0,1,1"),
        ("box", "x"),
    ],
)
def test_bad_corrections_are_named(client, phantom_png, field, text):
    answer = send(client, phantom_png, "/api/refine", **{field: text})
    assert answer.status_code == 422
    assert answer.json()["subject"] == field
    assert answer.json()["hint"]


def test_a_mask_that_does_not_fit_is_named(client, phantom_png, to_png):
    for content in (to_png(np.zeros((20, 30), np.uint8)), b"no mask"):
        files = {"image": ("scan.png", phantom_png), "mask": ("mask.png", content)}
        answer = client.post("/api/refine", files=files)
        assert answer.status_code == 422
        assert answer.json()["subject"] == "mask"


def test_model_health_metrics_and_openapi(phantom_png, segmenter):
    client = TestClient(build_app(segmenter), base_url="http://127.0.0.1:8417")
    send(client, phantom_png)
    assert client.get("/healthz").json() == {"status": "ok"}
    head = client.head("/healthz")
    assert (head.status_code, head.content) == (200, b"")
    model = client.get("/api/model").json()
    assert model["sha256"] == segmenter.sha256
    assert model["card"]["limits"] == segmenter.card.limits
    text = client.get("/metrics").text
    assert (
        'sonoseg_requests_total{method="POST",route="/api/segment",status="200"} 1'
        in text
    )
    assert "sonoseg_images_total 1" in text
    assert 'route="/api/segment",le="+Inf"} 1' in text
    document = client.get("/openapi.json").json()
    assert {"/api/segment", "/api/refine", "/healthz", "/metrics"} <= set(
        document["paths"]
    )
    assert "SegmentAnswer" in document["components"]["schemas"]


def test_a_full_line_is_refused_with_429_and_empties_again():
    pool = Pool(Limits(threads=1, waiting=2))
    go = threading.Event()
    futures = [pool.submit(lambda: go.wait(20)) for _ in range(3)]
    with pytest.raises(Refused) as refused:
        pool.submit(lambda: None)
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "2"}
    go.set()
    for future in futures:
        assert future.result(20)
    assert pool.submit(lambda: 5).result(20) == 5
    pool.close()


@pytest.mark.parametrize("address", ["/api/segment", "/api/refine"])
def test_what_would_not_be_used_is_refused(client, phantom_png, address):
    one = ("image", ("scan.png", phantom_png))
    refused = client.post(address, files=[one, one])
    assert refused.status_code == 422
    assert refused.json()["subject"] == "image"
    assert "more than once" in refused.json()["problem"]
    for field, value in (("spaceing", "0.1"), ("frame", "2")):
        refused = client.post(address, files=[one], data={field: value})
        assert (refused.status_code, refused.json()["subject"]) == (422, field)
    assert client.post(address, files=[one], data={"frame": 1}).status_code == 200
