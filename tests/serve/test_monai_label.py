"""MONAI Label's addresses, called with the bytes that its clients send.

The requests of 3D Slicer are those that the client of monailabel 0.8.5 sent to a socket, with the place of the file
filled in; Slicer's plugin has a copy of it. Those of OHIF were written from its plugin, in the form in which Chromium
sends FormData. Labels were also read with SimpleITK once; here NRRD is read by its first lines.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.serve.volumes import PIXELS, VOLUMES

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import make_phantom
from sonoseg.dicom.segment import segment_still
from sonoseg.serve.app import build_app
from sonoseg.serve.kept_files import Uploads
from sonoseg.serve.limits import Limits
from sonoseg.serve.monai_images import is_turned

ADDRESS = "http://127.0.0.1:8417"
SLICER = b"----------lImIt_of_THE_fIle_eW_$"
SLICER_TYPE = {"content-type": f"multipart/form-data; boundary={SLICER.decode()}"}
SESSION = b"de71f06972cbfe15ff033c24b657fd27"
SESSION_TYPE = {"content-type": f"multipart/form-data; boundary={SESSION.decode()}"}
OHIF = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
OHIF_TYPE = {"content-type": f"multipart/form-data; boundary={OHIF.decode()}"}
INFER = (
    b'------------lImIt_of_THE_fIle_eW_$\r\nContent-Disposition: form-data; name="params"\r\n\r\n'
    b'{"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz"}\r\n'
    b"------------lImIt_of_THE_fIle_eW_$--\r\n\r\n"
)


def sent_session(content):
    return (
        b'--de71f06972cbfe15ff033c24b657fd27\r\nContent-Disposition: form-data; name="client_id"\r\n\r\nuser-xyz\r\n'
        b'--de71f06972cbfe15ff033c24b657fd27\r\nContent-Disposition: form-data; name="files"; filename="tiny.nii.gz"'
        b"\r\n\r\n" + content + b"\r\n--de71f06972cbfe15ff033c24b657fd27--\r\n"
    )


def sent_file(name, params, content):
    return (
        b'------------lImIt_of_THE_fIle_eW_$\r\nContent-Disposition: form-data; name="params"\r\n\r\n'
        + params
        + b"\r\n------------lImIt_of_THE_fIle_eW_$\r\nContent-Disposition: form-data; name="
        + f'"{name}"; filename="tiny.nii.gz"\r\n'.encode()
        + b"Content-Type: application/octet-stream\r\n\r\n"
        + content
        + b"\r\n------------lImIt_of_THE_fIle_eW_$--\r\n\r\n"
    )


def sent_by_ohif(params, label=None):
    body = b"--" + OHIF + b'\r\nContent-Disposition: form-data; name="params"\r\n\r\n'
    body += json.dumps(params).encode()
    if label is not None:
        body += b"\r\n--" + OHIF + b"\r\nContent-Disposition: form-data; "
        body += b'name="label"; filename="label.bin"\r\n'
        body += b"Content-Type: application/octet-stream\r\n\r\n" + label
    return body + b"\r\n--" + OHIF + b"--\r\n"


def nifti(pixels):
    """A file with the header of one that ITK wrote."""
    head = bytearray(gzip.decompress(VOLUMES["gray.nii.gz"])[:352])
    head[42:46] = struct.pack("<2h", pixels.shape[1], pixels.shape[0])
    return gzip.compress(bytes(head) + pixels.tobytes(), 1)


def label_in(content):
    """The numbers (H, W) in an NRRD file, by its own header."""
    head, _, data = content.partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:])
    assert fields["encoding"] == "raw"
    width, height, slices = map(int, fields["sizes"].split())
    assert slices == 1
    kind = {"unsigned char": "u1", "unsigned short": "<u2"}[fields["type"]]
    return np.frombuffer(data, kind).reshape(height, width), fields


def parts_in(answer):
    """The two parts of an answer, taken apart as OHIF's plugin does: by the boundary and empty lines."""
    kind = answer.headers["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    boundary = b"--" + kind.split("boundary=")[1].encode()
    _, params, image, end = answer.content.split(boundary)
    assert end == b"--\r\n"
    assert b'name="params"' in params
    assert b"Content-Type: application/json" in params
    head, _, content = image.partition(b"\r\n\r\n")
    assert b'name="image"; filename="label.nrrd"' in head
    assert b"Content-Type: application/octet-stream" in head
    return json.loads(params.partition(b"\r\n\r\n")[2]), content.removesuffix(b"\r\n")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with two phantoms as PNG, and a still, a loop and a split screen as DICOM."""
    folder = tmp_path_factory.mktemp("monai")
    write_dicom_phantoms(folder, 3)
    return folder / "images"


@pytest.fixture(scope="module")
def client(segmenter, scans, to_png):
    for name, seed in (("one", 3), ("two", 4)):
        (scans / f"{name}.png").write_bytes(to_png(make_phantom(seed)[0]))
    app = build_app(segmenter, folder=scans)
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


def test_slicer_learns_what_there_is(client, segmenter):
    assert client.get("/auth/").json() == {"enabled": False}
    info = client.get("/info/").json()
    model = info["models"][segmenter.card.name]
    assert model["type"] == "segmentation"
    assert model["labels"] == {"lesion": 1}
    assert info["labels"] == ["lesion"]
    assert info["datastore"]["total"] == 5
    assert "config" not in info  # Slicer takes it for an old server
    listed = client.get("/datastore/?output=all").json()["objects"]
    assert listed["one"]["image"]["ext"] == ".png"
    assert "synthetic_00_still" in listed


def test_slicer_segments_the_volume_it_has_open(client, segmenter, phantom):
    body = sent_session(nifti(phantom[0]))
    made = client.put("/session/", content=body, headers=SESSION_TYPE).json()
    identifier = made["session_id"]
    assert client.get(f"/session/{identifier}").json()["expiry"] == 3600
    address = f"/infer/sonoseg-1?image=Volume+1&session_id={identifier}"
    params, content = parts_in(client.post(address, content=INFER, headers=SLICER_TYPE))
    label, fields = label_in(content)
    result = segmenter.segment(phantom[0], (0.1, 0.2))
    np.testing.assert_array_equal(label, result.mask)
    assert label.dtype == np.uint8
    assert fields["space origin"] == "(3.0,-4.0,5.0)"
    assert params["label_names"] == {"lesion": 1}
    lesions = params["sonoseg"]["lesions"]
    assert params["sonoseg"]["unit"] == "mm"
    assert lesions[0]["area"] == pytest.approx(result.lesions[0].to_dict()["area"])
    assert client.delete(f"/session/{identifier}").status_code == 200
    gone = client.post(address, content=INFER, headers=SLICER_TYPE)
    assert gone.status_code == 404
    assert gone.json()["subject"] == "session"


def test_slicer_adds_a_picture_and_its_label_becomes_a_readers_mask(client, phantom):
    params = b'{"client_id": "user-xyz"}'
    body = sent_file("file", params, nifti(phantom[0]))
    added = client.put(
        "/datastore/?image=Volume+1", content=body, headers=SLICER_TYPE
    ).json()
    assert added == {"image": "Volume 1"}
    drawn = phantom[1].astype(np.uint8)
    params = b'{"label_info": [{"name": "lesion", "idx": 1}], "client_id": "user-xyz"}'
    body = sent_file("label", params, nifti(drawn))
    saved = client.put(
        "/datastore/label?image=Volume+1", content=body, headers=SLICER_TYPE
    ).json()
    assert saved["image"] == "Volume 1"
    images = client.get("/api/images", params={"reader": "user-xyz"}).json()["images"]
    (image,) = (one for one in images if one["state"] == "edited")
    assert image["name"] == saved["label"] == "Volume_1.png"
    shown = client.get(f"/api/images/{image['id']}", params={"reader": "user-xyz"})
    area = sum(lesion["area"] for lesion in shown.json()["lesions"])
    assert area == np.count_nonzero(drawn)
    body = b'{"client_id": "user-xyz"}'
    kind = {"content-type": "application/json"}
    answer = client.post("/activelearning/first", content=body, headers=kind).json()
    assert answer["id"] == "Volume_1.png"
    file = client.get("/datastore/image", params={"image": answer["id"]})
    assert file.content.startswith(b"\x89PNG")


def test_a_name_stands_for_one_picture(client, to_png):
    first, second = (to_png(make_phantom(seed)[0]) for seed in (7, 8))
    address = "/datastore/?image=again"
    for content in (first, first):  # the same picture may be sent again
        added = client.put(address, files={"file": ("again.png", content)})
        assert added.json() == {"image": "again"}
    refused = client.put(address, files={"file": ("again.png", second)})
    assert refused.status_code == 409
    assert refused.json()["subject"] == "image"
    assert client.get("/datastore/image?image=again").content == first
    listed = client.get("/datastore/?output=all").json()["objects"]
    assert [name for name in listed if name.startswith("again")] == ["again"]


@pytest.fixture
def small_client(segmenter, tmp_path, phantom_png):
    """One whose folder has one picture, named as Slicer names a volume."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "scan 1.png").write_bytes(phantom_png)
    with TestClient(build_app(segmenter, folder=folder), base_url=ADDRESS) as client:
        yield client, folder


def test_a_label_never_gets_to_another_picture_of_the_name(
    small_client, phantom_png, to_png
):
    client, folder = small_client
    other = to_png(make_phantom(8)[0])
    address = "/datastore/?image="
    for name in ("scan 1", "scan 1.png"):
        refused = client.put(address + name, files={"file": ("x.png", other)})
        assert refused.status_code == 409
        again = client.put(address + name, files={"file": ("x.png", phantom_png)})
        assert again.json() == {"image": name}
    assert [path.name for path in folder.glob("*.png")] == ["scan 1.png"]
    # A file of this name that comes later leaves two, and neither is taken for the other.
    added = client.put(f"{address}scan 2", files={"file": ("x.png", other)})
    assert added.json() == {"image": "scan 2"}
    assert client.get("/datastore/image?image=scan 2").content == other
    (folder / "scan 2.png").write_bytes(phantom_png)
    label = {"label": ("l.png", to_png(np.zeros((20, 30), np.uint8)))}
    refused = client.put("/datastore/label?image=scan 2", files=label)
    assert refused.status_code == 404
    assert "stands for 2 images" in refused.json()["problem"]
    (folder / "scan_2.png").unlink()
    refused = client.get("/datastore/image?image=scan 2")
    assert refused.status_code == 404


def test_a_name_that_only_another_file_has_is_refused(small_client, phantom_png):
    client, folder = small_client
    (folder / "note.dcm").mkdir()  # nothing that is shown
    for name in ("note", "NOTE"):
        files = {"file": ("x.png", phantom_png)}
        refused = client.put(f"/datastore/?image={name}", files=files)
        assert refused.status_code == 409


def test_no_name_stands_for_no_picture(small_client, phantom_png):
    client, _ = small_client
    files = {"image": ("x.png", phantom_png)}
    address = "/infer/sonoseg-1?output=json"
    wrong = client.post(address, files=files)
    assert wrong.status_code == 422
    assert wrong.json()["subject"] == "image"
    assert "send params, file, label" in wrong.json()["hint"]
    twice = client.post(address, files=[("file", ("x.png", phantom_png))] * 2)
    assert twice.status_code == 422
    label = {"label": ("l.png", phantom_png)}
    for answer in (
        client.post(address),
        client.get("/datastore/image?image="),
        client.put("/datastore/label?image=", files=label),
    ):
        assert answer.status_code == 422
        assert answer.json()["problem"] == "is not named"


# What SimpleITK 2 reads of such files as GetSpacing.
PLACED = [
    ("PNG", {"dpi": (96, 96)}, (1.0, 1.0)),
    ("JPEG", {}, (1.0, 1.0)),
    ("JPEG", {"dpi": (127, 254)}, (0.2, 0.1)),
    ("TIFF", {}, (1.0, 1.0)),
    ("TIFF", {"dpi": (127, 254)}, (0.2, 0.1)),
    ("TIFF", {"resolution": 40, "resolution_unit": 3}, (0.25, 0.25)),
]


@pytest.mark.parametrize(("kind", "options", "wanted"), PLACED)
def test_a_label_lies_where_slicer_shows_the_picture(client, kind, options, wanted):
    file = io.BytesIO()
    Image.fromarray(make_phantom(3)[0]).save(file, kind, **options)
    _, fields = label_in(infer(client, file.getvalue()))
    numbers = fields["space directions"].translate(str.maketrans("(),", "   ")).split()
    across, down = wanted
    axes = [across, 0, 0, 0, down, 0, 0, 0, 1]
    assert [float(number) for number in numbers] == pytest.approx(axes)


def test_a_label_has_the_pixel_spacing_of_its_dicom_image(client, scans):
    image = pydicom.dcmread(scans / "synthetic_00_still.dcm")
    image.PixelSpacing = [0.5, 0.25]
    file = io.BytesIO()
    image.save_as(file)
    _, fields = label_in(infer(client, file.getvalue()))
    assert fields["space directions"] == "(0.25,0.0,0.0) (0.0,0.5,0.0) (0.0,0.0,1.0)"


def infer(client, content):
    address = "/infer/sonoseg-1?output=image"
    return client.post(address, files={"file": ("scan", content)}).content


def test_ohif_segments_a_series(client, scans, segmenter):
    path = scans / "synthetic_00_still.dcm"
    series = pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID
    wanted = segment_still(segmenter, path).mask
    params = {
        "result_extension": ".nrrd",
        "result_dtype": "uint16",
        "result_compress": False,
        "restore_label_idx": False,
    }
    address = f"/infer/sonoseg-1?image={series}&output="
    body = sent_by_ohif(params)
    found, content = parts_in(
        client.post(f"{address}all", content=body, headers=OHIF_TYPE)
    )
    label, _ = label_in(content)
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label, wanted)
    index, x, y, _ = map(int, found["centroids"]["lesion"])
    assert index == 1
    assert wanted[y, x]
    # The plugin reads the whole answer as UTF-8.
    assert content.decode("utf-8").encode("utf-8") == content
    alone = client.post(f"{address}image", content=body, headers=OHIF_TYPE)
    assert alone.content == content
    words = client.post(f"{address}json", content=body, headers=OHIF_TYPE).json()
    assert words == found
    seg = client.post(f"{address}dicom_seg", content=body, headers=OHIF_TYPE)
    assert seg.headers["content-type"] == "application/dicom"
    assert seg.content[128:132] == b"DICM"


def test_ohif_saves_bare_numbers_of_the_whole_frame(client, scans, segmenter):
    path = scans / "synthetic_00_still.dcm"
    series = pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID
    frame = segment_still(segmenter, path).mask
    body = sent_by_ohif({"client_id": "ann"}, frame.astype("<u2").tobytes())
    address = f"/datastore/label?image={series}"
    saved = client.put(address, content=body, headers=OHIF_TYPE).json()
    assert saved["label"] == "synthetic_00_still.dcm"
    images = client.get("/api/images", params={"reader": "ann"}).json()["images"]
    (image,) = (one for one in images if one["name"] == saved["label"])
    shown = client.get(f"/api/images/{image['id']}", params={"reader": "ann"}).json()
    assert shown["undo"] == 1
    assert len(shown["lesions"]) == len(segment_still(segmenter, path).lesions)


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("/infer/other?image=one", "model"),
        ("/infer/sonoseg-1?image=nobody", "image"),
        ("/infer/sonoseg-1?image=../../etc/passwd", "image"),
        ("/infer/sonoseg-1?image=synthetic_01_loop", "image"),
        ("/infer/sonoseg-1?image=one&output=dicom_seg", "output"),
        ("/infer/sonoseg-1?image=one&output=video", "output"),
        ("/infer/sonoseg-1?session_id=0", "session"),
    ],
)
def test_what_is_not_done_is_refused_by_name(client, address, subject):
    answer = client.post(address, content=INFER, headers=SLICER_TYPE)
    assert 400 <= answer.status_code < 500
    assert answer.json()["subject"] == subject


@pytest.mark.parametrize(
    ("params", "subject"),
    [
        ({"result_extension": ".nii.gz"}, "result_extension"),
        ({"result_dtype": "float32"}, "result_dtype"),
        ([], "params"),
    ],
)
def test_other_forms_of_answers_are_refused_by_name(client, params, subject):
    body = sent_by_ohif(params)
    address = "/infer/sonoseg-1?image=one"
    answer = client.post(address, content=body, headers=OHIF_TYPE)
    assert answer.status_code == 422
    assert answer.json()["subject"] == subject


def test_scribbles_and_labels_that_do_not_fit_are_refused(client, to_png):
    small = to_png(np.zeros((20, 30), np.uint8))
    body = sent_file("label", b"{}", small)
    answer = client.post(
        "/infer/sonoseg-1?image=one", content=body, headers=SLICER_TYPE
    )
    assert answer.status_code == 422
    assert answer.json()["subject"] == "label"
    answer = client.put("/datastore/label?image=one", content=body, headers=SLICER_TYPE)
    assert answer.status_code == 422
    assert "30 × 20" in answer.json()["problem"]


def turned(pixels, orientation, kind):
    """A picture's file whose EXIF says `orientation`."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(file, kind, exif=exif)
    return file.getvalue()


def assert_is_refused(answer, subject):
    assert answer.status_code == 422
    assert answer.json()["subject"] == subject
    assert "EXIF" in answer.json()["problem"]


# SimpleITK 2.5 ignores EXIF in JPEG and PNG; of TIFF it turns 2 to 4 as sonoseg, and 5 to 8 otherwise.
@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_what_exif_turns_is_refused_on_every_way(
    segmenter, tmp_path, phantom, to_png, kind, orientation
):
    content = turned(phantom[0], orientation, kind)
    (tmp_path / f"a.{kind.lower()}").write_bytes(content)
    app = build_app(segmenter, folder=tmp_path)
    with TestClient(app, base_url=ADDRESS) as client:
        assert_is_refused(client.get("/datastore/image?image=a"), "image")
        assert_is_refused(client.post("/infer/sonoseg-1?image=a"), "image")
        file = {"file": ("x", content)}
        assert_is_refused(client.post("/infer/sonoseg-1", files=file), "image")
        assert_is_refused(client.put("/datastore/?image=b", files=file), "image")
        session = client.put("/session/", files={"files": ("x", content)})
        assert_is_refused(session, "image")
        label = {"label": ("l", to_png(phantom[1].astype(np.uint8)))}
        saved = client.put("/datastore/label?image=a", files=label)
        assert_is_refused(saved, "image")
        (image,) = client.get("/api/images?reader=monai-label").json()["images"]
        assert image["state"] == "open"
        assert client.post("/activelearning/first").json() == {}
        (tmp_path / "b.png").write_bytes(to_png(phantom[0]))
        assert client.post("/activelearning/first").json()["id"] == "b.png"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_what_exif_leaves_upright_is_taken_as_it_is(segmenter, tmp_path, phantom, kind):
    content = turned(phantom[0], 1, kind)
    (tmp_path / f"a.{kind.lower()}").write_bytes(content)
    app = build_app(segmenter, folder=tmp_path)
    with TestClient(app, base_url=ADDRESS) as client:
        assert client.get("/datastore/image?image=a").content == content
        label = infer(client, content)
        np.testing.assert_array_equal(
            label_in(label)[0], segmenter.segment(content).mask
        )
        drawn = turned(phantom[1].astype(np.uint8), 3, "PNG")
        saved = client.put("/datastore/label?image=a", files={"label": ("l", drawn)})
        assert_is_refused(saved, "label")


def test_a_picture_over_the_limit_is_not_decoded_for_its_exif(phantom):
    content = turned(phantom[0], 3, "PNG")
    limits = Limits()
    assert is_turned(content, limits)
    assert not is_turned(content, replace(limits, pixels=phantom[0].size - 1))


@pytest.mark.parametrize("name", ["two.nii.gz", "gray.nrrd"])
def test_a_session_takes_one_slice(client, name):
    body = sent_session(VOLUMES[name])
    answer = client.put("/session/", content=body, headers=SESSION_TYPE)
    assert answer.status_code == (422 if name.startswith("two") else 200)


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/train/?check_if_running=true"),
        ("POST", "/train/"),
        ("DELETE", "/train/"),
        ("POST", "/scoring/dice"),
        ("GET", "/logs/"),
        ("GET", "/datastore/?output=train"),
        ("GET", "/datastore/label?label=one&tag=final"),
        ("DELETE", "/datastore/?id=one&type=image"),
        ("POST", "/activelearning/random"),
    ],
)
def test_other_calls_of_monai_label_are_refused_in_words(client, method, address):
    answer = client.request(method, address)
    assert answer.status_code == 404
    assert answer.json()["hint"]


def test_uploads_are_few_and_small_together():
    uploads = Uploads()
    first = uploads.add(PIXELS.tobytes())
    others = [uploads.add(bytes(20 << 20)) for _ in range(3)]
    assert uploads.get(first) is not None
    fourth = uploads.add(bytes(20 << 20))
    assert uploads.get(fourth) is not None
    assert uploads.get(first) is not None  # it was used last before
    assert uploads.get(others[0]) is None
    for _ in range(8):
        uploads.add(b"x")
    assert uploads.get(first) is None
