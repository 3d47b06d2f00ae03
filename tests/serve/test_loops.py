"""Loops and split screens: each frame has a mask of its own, and what is accepted lies on the disk by frame."""

import time

import numpy as np
import pydicom
import pytest
from tests.serve.opened import open_session

from sonoseg.core.paths import list_images
from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import make_phantom
from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError
from sonoseg.serve.edits import Edit
from sonoseg.serve.patch import to_text
from sonoseg.serve.records import Finding
from sonoseg.serve.scenes import Shot


@pytest.fixture
def session(tmp_path, segmenter):
    write_dicom_phantoms(tmp_path, 3)
    session = open_session(tmp_path / "images", segmenter)
    yield session
    session.close()


def find(session, kind, frame=1, region=1):
    scenes = session.album.refresh().values()
    (scene,) = (one for one in scenes if kind in one.path.name and one.region == region)
    return Shot(scene, frame)


def paint(session, shot, key):
    bits = to_text(np.ones((8, 8), bool))
    after = session.view(shot, "anna").revision
    session.edit(shot, "anna", Edit(key, after, "brush", 4, 4, 8, 8, bits))
    return session.view(shot, "anna").mask


def accept(session, shot, label="benign"):
    spacing = session.view(shot, "anna").finding.spacing
    finding = Finding(label, spacing=spacing)
    session.write_finding(shot, "anna", finding)
    session.accept(shot, "anna", session.view(shot, "anna").revision)
    return session.view(shot, "anna").mask


def in_seg(path, shape):
    """The masks in a SEG file, by frame of the image."""
    seg = pydicom.dcmread(path)
    masks = {}
    for pixels, item in zip(
        seg.pixel_array.reshape(-1, *shape),
        seg.PerFrameFunctionalGroupsSequence,
        strict=True,
    ):
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        frame = int(source.get("ReferencedFrameNumber", 1))
        masks[frame] = masks.get(frame, False) | (pixels > 0)
    return masks


def test_frames_of_a_loop_have_masks_files_and_objects_of_their_own(session, tmp_path):
    third, seventh = find(session, "loop", 3), find(session, "loop", 7)
    own = session.view(seventh, "anna").mask
    painted = paint(session, third, "key-00000001")
    assert painted[5, 5]
    np.testing.assert_array_equal(session.view(seventh, "anna").mask, own)
    accept(session, third)
    assert session.view(seventh, "anna").finding.label == "benign"
    accept(session, seventh)
    stem = third.path.stem
    folder = session.folder / "anna"
    names = [f"{stem}_frame{frame:04d}.png" for frame in (3, 7)]
    assert sorted(path.name for path in (folder / "images").iterdir()) == names
    report = check_folder(folder)
    assert [one.kind for one in report.findings] == ["near-copies"]
    assert report.images == 2
    cases = load_cases(folder)
    assert len({case.group for case in cases}) == 1
    assert cases[0].group.startswith("patient-")
    file = read_dicom(third.path)
    for case, mask, frame in zip(cases, (painted, own), (3, 7), strict=True):
        (view,) = file.views([frame])
        np.testing.assert_array_equal(case.read()[0], view.image.pixels)
        np.testing.assert_array_equal(case.read()[1], mask)
    entry = next(one for one in session.entries("anna") if one["frames"] == 12)
    assert (entry["state"], entry["accepted"], entry["label"]) == (
        "accepted",
        2,
        "benign",
    )
    masks = in_seg(folder / "dicom" / f"{stem}_seg.dcm", file.shape)
    assert sorted(masks) == [3, 7]
    np.testing.assert_array_equal(masks[3], view.whole(painted))
    np.testing.assert_array_equal(masks[7], view.whole(own))

    session.withdraw(third, "anna")
    assert list(in_seg(folder / "dicom" / f"{stem}_seg.dcm", file.shape)) == [7]
    assert check_folder(folder).images == 1
    assert session.view(third, "anna").state == "edited"
    assert session.view(third, "anna").mask[5, 5]
    session.withdraw(seventh, "anna")
    assert list((folder / "dicom").iterdir()) == []
    assert list((folder / "images").iterdir()) == []
    with pytest.raises(InputError):
        session.withdraw(seventh, "anna")


def test_images_of_a_split_screen_are_in_one_seg(session):
    masks = []
    for region in (1, 2):
        masks.append(accept(session, find(session, "split", region=region)))
    shot = find(session, "split")
    stem = shot.path.stem
    folder = session.folder / "anna"
    names = [f"{stem}_region{region}.png" for region in (1, 2)]
    assert sorted(path.name for path in (folder / "masks").iterdir()) == names
    file = read_dicom(shot.path)
    whole = np.zeros(file.shape, bool)
    for view, mask in zip(file.views(), masks, strict=True):
        whole |= view.whole(mask)
    seg = in_seg(folder / "dicom" / f"{stem}_seg.dcm", file.shape)
    np.testing.assert_array_equal(seg[1], whole)


def test_calipers_are_in_the_table_and_in_the_sr(session):
    shot = find(session, "still")
    lesion = session.view(shot, "anna").lesions[0]
    x, y = lesion.centre
    lines = [[x - 10, y, x + 10, y], [x, y - 7, x, y + 7]]
    session.edit(
        shot, "anna", Edit("key-00000001", 0, "calipers", *lesion.box, lines=lines)
    )
    accept(session, shot)
    assert session.view(shot, "anna").by_hand == [True]
    folder = session.folder / "anna"
    assert "2 x 1.4 mm" in (folder / "labels.csv").read_text()
    report = pydicom.dcmread(folder / "dicom" / f"{shot.path.stem}_sr.dcm")
    values = [
        float(item.NumericValue)
        for _, item in _all_items(report)
        if item.get("NumericValue") is not None
    ]
    assert values[:2] == [2.0, 1.4]
    ends = [item.GraphicData for _, item in _all_items(report) if "GraphicData" in item]
    (view,) = read_dicom(shot.path).views([1])
    left, top = view.region.left, view.region.top
    wanted = [x - 10 + left, y + top, x + 10 + left, y + top]
    np.testing.assert_allclose(ends[0], wanted, atol=0.02)


def test_calipers_are_of_one_frame(session):
    shots = [find(session, "loop", frame) for frame in (3, 4)]
    (lesion, *_) = session.view(shots[0], "anna").lesions
    lines = [[1, 1, 9, 1], [1, 1, 1, 9]]
    edit = Edit("key-00000001", 0, "calipers", *lesion.box, lines=lines)
    session.edit(shots[0], "anna", edit)
    measured = [any(session.view(shot, "anna").by_hand) for shot in shots]
    assert measured == [True, False]


def test_the_size_of_a_pixel_that_was_typed_counts_in_the_sr(session):
    shot = find(session, "still")
    session.write_finding(shot, "anna", Finding("benign", spacing="0.2 0.1"))
    session.accept(shot, "anna", 0)
    view = session.view(shot, "anna")
    report = pydicom.dcmread(
        session.folder / "anna" / "dicom" / f"{shot.path.stem}_sr.dcm"
    )
    values = [
        float(item.NumericValue)
        for _, item in _all_items(report)
        if item.get("NumericValue") is not None
    ]
    (lesion,) = view.lesions
    wanted = [lesion.longest.length, lesion.across.length, view.mask.sum() * 0.02]
    # A fourth number is the probability of cancer.
    np.testing.assert_allclose(values[:3], wanted, atol=0.006)


def _all_items(dataset):
    for element in dataset.iterall():
        if element.VR == "SQ":
            for item in element.value:
                yield element.keyword, item


def test_all_frames_are_segmented_ahead(session, segmenter):
    shot = find(session, "loop")
    painted = paint(session, find(session, "loop", 2), "key-00000001")
    session.view(shot, "anna")
    loop = session.album.loop(shot.scene)
    end = time.monotonic() + 200
    while len(loop.shares(shot.scene)) < 12 and time.monotonic() < end:
        time.sleep(0.05)
    for view, share in zip(
        read_dicom(shot.path).views(), loop.shares(shot.scene), strict=True
    ):
        mask = segmenter.segment(view.image).mask
        assert share == mask.mean()
        known = session.known_mask(Shot(shot.scene, view.frame), "anna")
        wanted = painted if view.frame == 2 else mask
        np.testing.assert_array_equal(known, wanted)
    assert session.frame_states(shot.scene, "anna") == {2: "edited"}


def test_a_video_is_a_loop(tmp_path, segmenter):
    av = pytest.importorskip("av")
    frames = [np.roll(make_phantom(3)[0][:400, :400], shift, 1) for shift in range(5)]
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.width, stream.height, stream.pix_fmt = 400, 400, "gray"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "gray")))
        container.mux(stream.encode(None))
    session = open_session(tmp_path, segmenter)
    (entry,) = session.entries("anna")
    assert entry["frames"] == 5
    shot = session.album.shot(f"{entry['id']}-4")
    np.testing.assert_array_equal(session.album.image(shot).pixels, frames[3])
    assert session.album.thumbnail(shot.scene)[:4] == b"\x89PNG"
    mask = accept(session, shot)
    np.testing.assert_array_equal(mask, segmenter.segment(frames[3]).mask)
    (case,) = load_cases(session.folder / "anna")
    assert case.image.name == "clip_frame0004.png"
    assert case.group == "clip.mkv"
    np.testing.assert_array_equal(case.read()[0], frames[3])
    assert list_images([tmp_path], clips=True) == [tmp_path / "clip.mkv"]
    session.close()
