"""What SEG, SR and tables say of an accepted image: which network, which person, which size of a pixel."""

import csv
import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS
from tests.serve.opened import open_session

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.dicom.evaluations import NAMES
from sonoseg.dicom.objects import segment_to_objects
from sonoseg.dicom.read import read_dicom
from sonoseg.reader.bundle import Bundle, find_bundle
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.app import build_app
from sonoseg.serve.edits import Edit
from sonoseg.serve.lexicon import join_descriptors
from sonoseg.serve.objects import stem_of_object
from sonoseg.serve.patch import to_text
from sonoseg.serve.records import Finding
from sonoseg.serve.scenes import Shot

CANCER = "Probability of cancer"
CHOSEN = {
    "shape": "round",
    "orientation": "not parallel",
    "margin": "spiculated",
    "posterior features": "shadowing",
}
CODED = {
    "Shape": "Round shape",
    "Orientation": "Not parallel",
    "Margins": "Spiculated lesion",
    "Posterior acoustic features": "Posterior shadowing",
}
"""The same in the codes of DICOM; none is suggested for the largest lesion of the still."""


@pytest.fixture(scope="module")
def accurate():
    return Segmenter(Bundle.read(find_bundle("accurate"), threads=1))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write_dicom_phantoms(folder, 3)
    return {
        path.stem.rpartition("_")[2]: path for path in (folder / "images").iterdir()
    }


@pytest.fixture
def scans(written, tmp_path):
    """A folder with a still; other kinds of files are added by tests."""
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(written["still"], scans / "still.dcm")
    return scans


def find(session, name="still", frame=1, region=1):
    for scene in session.album.refresh().values():
        if scene.path.stem == name and scene.region == region:
            return Shot(scene, frame)
    raise AssertionError(name)


def accept(session, shot, spacing="", words=None, birads=""):
    descriptors = join_descriptors(words or {})
    finding = Finding("benign", birads, "", spacing, descriptors)
    session.write_finding(shot, "anna", finding)
    session.accept(shot, "anna", session.view(shot, "anna").revision)


def paint(session, shot):
    bits = to_text(np.ones((8, 8), bool))
    after = session.view(shot, "anna").revision
    edit = Edit(f"key-{after:08d}", after, "brush", 4, 4, 8, 8, bits)
    session.edit(shot, "anna", edit)


def objects(session, stem="still"):
    """SEG and SR of an image."""
    folder = session.folder / "anna" / "dicom"
    return [pydicom.dcmread(folder / f"{stem}_{kind}.dcm") for kind in ("seg", "sr")]


def values(report):
    """What an SR says: by the name of the concept, all values in their order."""
    found = {}

    def walk(items):
        for item in items:
            name = item.ConceptNameCodeSequence[0].CodeMeaning
            for keyword in ("TextValue", "PersonName", "UID"):
                if keyword in item:
                    found.setdefault(name, []).append(str(item[keyword].value))
            if "MeasuredValueSequence" in item:
                number = float(item.MeasuredValueSequence[0].NumericValue)
                found.setdefault(name, []).append(number)
            if "ConceptCodeSequence" in item:
                word = item.ConceptCodeSequence[0].CodeMeaning
                found.setdefault(name, []).append(word)
            walk(item.get("ContentSequence", []))

    walk(report.ContentSequence)
    return found


def coded(report):
    """The coded words of each measurement group, by the name of their descriptor."""
    names = {name.meaning for name in NAMES.values()}
    found = []
    for item in report.iterall():
        is_group = item.keyword == "ContentSequence" and any(
            one.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier"
            for one in item.value
        )
        if is_group:
            said = [
                (one.ConceptNameCodeSequence[0].CodeMeaning, one) for one in item.value
            ]
            found.append(
                {
                    name: one.ConceptCodeSequence[0].CodeMeaning
                    for name, one in said
                    if name in names
                }
            )
    return found


def row(session):
    with (session.folder / "anna" / "annotations.csv").open() as file:
        (found,) = csv.DictReader(file)
    return found


def masks_in(seg, shape):
    pixels = seg.pixel_array.reshape(-1, *shape)
    return pixels.any(0)


def spacing_in(seg):
    groups = seg.SharedFunctionalGroupsSequence[0]
    return [float(one) for one in groups.PixelMeasuresSequence[0].PixelSpacing]


def test_an_unchanged_outline_has_the_objects_of_segment(scans, segmenter):
    session = open_session(scans, segmenter)
    accept(session, find(session))
    wanted = segment_to_objects(segmenter, read_dicom(scans / "still.dcm"))
    folder = session.folder / "anna" / "dicom"
    assert (folder / "still_seg.dcm").read_bytes() == wanted.seg
    assert (folder / "still_sr.dcm").read_bytes() == wanted.report
    (probability,) = values(objects(session)[1])[CANCER]
    (lesion,) = segmenter.segment(scans / "still.dcm").lesions
    assert probability == pytest.approx(100 * lesion.malignancy.probability, abs=0.06)
    assert row(session)["changed"] == ""


def test_a_report_has_the_words_of_the_reader_in_place_of_the_suggested_ones(
    scans, segmenter
):
    session = open_session(scans, segmenter)
    shot = find(session)
    paint(session, shot)  # a second, smaller lesion
    suggested = session.view(shot, "anna").lesions[0].descriptors
    for name, one in suggested.named():
        assert one.word != CHOSEN.get(name, "")
    accept(session, shot, words=CHOSEN, birads="5")
    _, report = objects(session)
    # The words are of the largest lesion. Of the other one the reader said nothing.
    assert coded(report) == [CODED, {}]
    said = values(report)
    assert said["Person Observer Name"] == ["anna"]
    words = ", ".join(f"{name} {word}" for name, word in CHOSEN.items())
    assert f"Lesion 1, chosen by anna: {words}." in said["Comment"]
    assert "BI-RADS category 5, chosen by anna." in said["Comment"]
    begin = f"Lesion 1, suggested by a program: shape {suggested.shape.word}"
    assert any(one.startswith(begin) for one in said["Comment"])


def test_words_alone_are_a_persons_too_but_no_change_of_the_outline(scans, segmenter):
    session = open_session(scans, segmenter)
    accept(session, find(session), words={"shape": "irregular"})
    seg, report = objects(session)
    assert coded(report) == [{"Shape": "Irregular"}]
    said = values(report)
    assert said["Person Observer Name"] == ["anna"]
    assert not any("A person changed" in one for one in said["Comment"])
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    accept(session, find(session), birads="3")
    (words,) = coded(objects(session)[1])
    assert words == {}
    said = values(objects(session)[1])
    assert "BI-RADS category 3, chosen by anna." in said["Comment"]


def test_no_suggested_word_is_coded_in_a_persons_report(scans, segmenter):
    session = open_session(scans, segmenter)
    shot = find(session)
    accept(session, shot)
    (words,) = coded(objects(session)[1])
    assert "Shape" in words  # the device is the only observer
    paint(session, shot)
    accept(session, shot)
    report = objects(session)[1]
    assert values(report)["Person Observer Name"] == ["anna"]
    assert coded(report) == [{}, {}]
    assert "suggested by a program" in " ".join(values(report)["Comment"])


def test_words_of_frames_name_their_frames(scans, written, segmenter):
    shutil.copy(written["loop"], scans / "loop.dcm")
    session = open_session(scans, segmenter)
    sizes = {}
    for frame in (2, 3, 6):
        shot = find(session, "loop", frame)
        sizes[frame] = session.view(shot, "anna").mask.sum()
        shape = "round" if frame == 6 else "irregular"
        birads = "3" if frame == 6 else "4A"
        accept(session, shot, words={"shape": shape}, birads=birads)
    report = objects(session, "loop")[1]
    comments = values(report)["Comment"]
    assert "Lesion 1 (frame 2, 3), chosen by anna: shape irregular." in comments
    assert "Lesion 1 (frame 6), chosen by anna: shape round." in comments
    assert "BI-RADS category 4A (frame 2, frame 3), chosen by anna." in comments
    assert "BI-RADS category 3 (frame 6), chosen by anna." in comments
    # The frame that is measured is that of the coded word.
    largest = max(sizes, key=sizes.get)
    shape = "Round shape" if largest == 6 else "Irregular"
    assert coded(report)[0] == {"Shape": shape}


def test_a_category_of_an_image_without_a_lesion(scans, segmenter):
    session = open_session(scans, segmenter)
    shot = find(session)
    session.edit(shot, "anna", Edit("key-00000001", 0, "clear"))
    session.write_finding(shot, "anna", Finding("normal", "1"))
    session.accept(shot, "anna", session.view(shot, "anna").revision)
    folder = session.folder / "anna" / "dicom"
    said = values(pydicom.dcmread(folder / "still_sr.dcm"))
    assert said["Finding"] == ["No lesion was found"]
    assert "BI-RADS category 1, chosen by anna." in said["Comment"]


def test_the_probability_of_cancer_is_that_of_the_corrected_outline(scans, segmenter):
    session = open_session(scans, segmenter)
    shot = find(session)
    own = session.view(shot, "anna").lesions[0]
    x, y = (round(one) for one in own.centre)
    bits = to_text(np.zeros((60, 60), bool))
    place = {"x": x - 30, "y": y, "width": 60, "height": 60, "bits": bits}
    session.edit(shot, "anna", Edit("key-00000001", 0, "eraser", **place))
    accept(session, shot)
    result = session.album.result(shot)
    lesion = session.view(shot, "anna").lesions[0]
    assert lesion.pixels < 0.8 * own.pixels
    wanted = result.judge(lesion.part, lesion.probability)
    assert wanted.withheld is None
    found = values(objects(session)[1])
    assert found[CANCER][0] == pytest.approx(100 * wanted.probability, abs=0.06)
    assert found["Person Observer Name"] == ["anna"]
    assert row(session)["changed"] == "outline"


@pytest.mark.parametrize("is_changed", [False, True])
def test_after_a_restart_with_another_network_what_was_accepted_is_as_it_was(
    scans, segmenter, accurate, is_changed
):
    session = open_session(scans, segmenter)
    shot = find(session)
    if is_changed:
        paint(session, shot)
    accept(session, shot)
    mask = session.view(shot, "anna").mask
    before = [one.SOPInstanceUID for one in objects(session)]
    session.close()

    again = open_session(scans, accurate)
    again.finish_writing()
    view = again.view(shot, "anna")
    np.testing.assert_array_equal(view.mask, mask)
    assert view.state == "accepted"
    assert view.network.sha256 == segmenter.sha256
    (note,) = view.notes
    assert segmenter.card.name in note
    # Another reader begins with the network in use.
    other = again.view(shot, "bert")
    assert other.network.sha256 == accurate.sha256
    assert other.notes == []

    # Accepted again without a change: the same objects, of the same network.
    again.accept(shot, "anna", view.revision)
    assert [one.SOPInstanceUID for one in objects(again)] == before
    seg, report = objects(again)
    np.testing.assert_array_equal(
        masks_in(seg, read_dicom(scans / "still.dcm").shape).sum(), mask.sum()
    )
    names = {one.SegmentAlgorithmName for one in seg.SegmentSequence}
    assert names == {segmenter.card.name}
    assert values(report)["Device Observer Model Name"] == [segmenter.card.name]
    assert row(again)["sha256"] == segmenter.sha256
    assert row(again)["network"] == segmenter.card.name
    again.close()


def test_frames_of_two_networks_are_in_objects_of_their_own(
    scans, written, segmenter, accurate
):
    shutil.copy(written["loop"], scans / "loop.dcm")
    session = open_session(scans, segmenter)
    accept(session, find(session, "loop", 2))
    accept(session, find(session, "loop", 3))
    first = objects(session, "loop")[0].SOPInstanceUID
    session.close()
    again = open_session(scans, accurate)
    accept(again, find(again, "loop", 6))
    folder = again.folder / "anna" / "dicom"
    found = {}
    for path in folder.glob("*_seg_*.dcm"):
        seg = pydicom.dcmread(path)
        (item, *_) = seg.SegmentSequence
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        frames = set()
        for group in seg.PerFrameFunctionalGroupsSequence:
            source = group.DerivationImageSequence[0].SourceImageSequence[0]
            frames.add(source.ReferencedFrameNumber)
        found[algorithm.AlgorithmParameters.partition("=")[2]] = frames
        assert stem_of_object(path.name) == "loop"
        if frames == {2, 3}:  # an archive has it already
            assert seg.SOPInstanceUID == first
    assert found == {segmenter.sha256: {2, 3}, accurate.sha256: {6}}
    assert len(list(folder.glob("*_sr_*.dcm"))) == 2
    shown = [again.view(find(again, "loop", frame), "anna") for frame in (2, 6, 7)]
    assert [one.state for one in shown] == ["accepted", "accepted", "open"]
    networks = [one.network.sha256 for one in shown]
    assert networks == [segmenter.sha256, accurate.sha256, accurate.sha256]
    again.withdraw(find(again, "loop", 6), "anna")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["loop_seg.dcm", "loop_sr.dcm"]
    again.close()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan_seg.dcm", "scan"),
        ("scan-20240501_sr.dcm", "scan-20240501"),
        ("scan_20240501_seg.dcm", "scan_20240501"),
        ("scan_seg_2d379c35.dcm", "scan"),
        ("a_seg_2d379c35_seg.dcm", "a_seg_2d379c35"),
        ("scan.dcm", ""),
        ("_seg.dcm", ""),
    ],
)
def test_an_object_belongs_to_the_image_of_its_name(name, stem):
    assert stem_of_object(name) == stem


def test_moved_calipers_are_a_persons_measurement_of_the_networks_outline(
    scans, segmenter
):
    session = open_session(scans, segmenter)
    shot = find(session)
    lesion = session.view(shot, "anna").lesions[0]
    x, y = lesion.centre
    lines = [[x - 10, y, x + 10, y], [x, y - 7, x, y + 7]]
    session.edit(
        shot, "anna", Edit("key-00000001", 0, "calipers", *lesion.box, lines=lines)
    )
    accept(session, shot)
    seg, report = objects(session)
    said = values(report)
    assert said["Person Observer Name"] == ["anna"]
    assert said["Observer Type"] == ["Person", "Device"]
    assert "A person changed: calipers." in said["Comment"]
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert row(session)["changed"] == "calipers"


@pytest.mark.parametrize("typed", ["0.5", "0.2 0.1"])
def test_a_typed_size_is_a_persons_and_all_objects_agree_about_it(
    scans, segmenter, typed
):
    session = open_session(scans, segmenter)
    shot = find(session)
    accept(session, shot)
    automatic = [one.SOPInstanceUID for one in objects(session)]
    accept(session, shot, spacing=typed)
    view = session.view(shot, "anna")
    own = read_dicom(scans / "still.dcm").layout.regions[0].spacing
    (doubt,) = view.doubts
    assert f"{own[0]:.4g} x {own[1]:.4g} mm" in doubt
    seg, report = objects(session)
    row_size, *column_size = (float(one) for one in typed.split())
    size = [row_size, column_size[0] if column_size else row_size]
    assert spacing_in(seg) == size
    said = values(report)
    assert said["Person Observer Name"] == ["anna"]
    assert said["Area"] == [pytest.approx(view.mask.sum() * np.prod(size), abs=0.006)]
    assert any(doubt in comment for comment in said["Comment"])
    assert row(session)["changed"] == "pixel size"
    # An archive must not take them for those that it has.
    assert not {one.SOPInstanceUID for one in (seg, report)} & set(automatic)


def test_the_size_of_the_file_is_nobodys_change(scans, segmenter):
    session = open_session(scans, segmenter)
    shot = find(session)
    accept(session, shot, spacing=session.view(shot, "anna").finding.spacing)
    assert session.view(shot, "anna").doubts == []
    assert "Person Observer Name" not in values(objects(session)[1])


def test_a_size_that_was_typed_for_one_image_of_a_screen(scans, written, segmenter):
    shutil.copy(written["split"], scans / "split.dcm")
    session = open_session(scans, segmenter)
    own = [region.spacing for region in read_dicom(scans / "split.dcm").layout.regions]
    accept(session, find(session, "split", region=1), spacing="0.3")
    accept(session, find(session, "split", region=2))
    seg, report = objects(session, "split")
    assert spacing_in(seg) == [1.0, 1.0]  # as for regions whose sizes differ
    masks = [
        session.view(find(session, "split", region=one), "anna").mask for one in (1, 2)
    ]
    wanted = [masks[0].sum() * 0.09, masks[1].sum() * own[1][0] * own[1][1]]
    np.testing.assert_allclose(
        sorted(values(report)["Area"]), sorted(wanted), atol=0.01
    )


def test_the_page_shows_the_doubt_as_soon_as_the_size_is_typed(scans, segmenter):
    app = build_app(segmenter, folder=scans)
    client = TestClient(app, base_url=ADDRESS)
    (entry,) = client.get("/api/images").json()["images"]
    address = f"/api/images/{entry['id']}"
    shown = client.get(address).json()
    assert shown["doubts"] == []
    body = {"words": shown["words"], "spacing": "0.5"}
    answer = client.put(f"{address}/finding", json=body).json()
    assert "the user says otherwise" in answer["doubts"][0]
    assert client.get(address).json()["doubts"] == answer["doubts"]
    app.state.service.session.close()


def test_a_scan_without_a_size_has_that_of_the_person(scans, segmenter):
    dataset = pydicom.dcmread(scans / "still.dcm")
    del dataset.SequenceOfUltrasoundRegions
    dataset.save_as(scans / "still.dcm")
    session = open_session(scans, segmenter)
    accept(session, find(session), spacing="0.25")
    seg, report = objects(session)
    assert spacing_in(seg) == [0.25, 0.25]
    assert values(report)["Person Observer Name"] == ["anna"]
    assert row(session)["changed"] == "pixel size"


def test_a_picture_with_a_size_that_was_typed_says_so_in_its_table(
    tmp_path, segmenter, phantom
):
    Image.fromarray(phantom[0]).save(tmp_path / "one.png")
    session = open_session(tmp_path, segmenter)
    accept(session, find(session, "one"), spacing="0.1")
    assert row(session)["changed"] == "pixel size"
    assert row(session)["network"] == segmenter.card.name
