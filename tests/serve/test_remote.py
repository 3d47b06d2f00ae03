"""`sonoseg serve --dicomweb`: studies are listed and fetched, what is accepted is stored back, each once."""

from __future__ import annotations

import io
import logging
import sys
import time
from pathlib import Path

import pydicom
import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "watch"))

from orthanc_archive import fails
from web_archive import WebArchive

from sonoseg.cli import main
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.errors import InputError
from sonoseg.serve.app import build_app
from sonoseg.watch.address import parse_address
from sonoseg.watch.transport import Unreachable

ADDRESS = "http://127.0.0.1:8417"
NAME = "Doe^<script>alert(1)</script>"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """The contents of two stills, of one patient and two studies."""
    folder = tmp_path_factory.mktemp("scans")
    write_dicom_phantoms(folder, 4)
    contents = []
    for path in sorted((folder / "images").iterdir()):
        if path.stem.endswith("still"):
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.PatientID = NAME, "P1"
            dataset.StudyDate = f"2026010{len(contents) + 1}"
            content = io.BytesIO()
            dataset.save_as(content)
            contents.append(content.getvalue())
    assert len(contents) == 2
    return contents


@pytest.fixture
def archive(scans):
    server = WebArchive()
    for scan in scans:
        server.add(scan)
    yield server
    server.stop()


@pytest.fixture
def app(segmenter, archive, tmp_path):
    """The application; its outbox does not run until a test starts it or calls `send`."""
    address = parse_address(archive.web_url)
    return build_app(segmenter, folder=tmp_path / "scans", dicomweb=address)


@pytest.fixture
def client(app):
    return TestClient(app, base_url=ADDRESS)


def outbox_of(app):
    return app.state.service.archive.outbox


def first_study(client):
    return client.get("/api/studies").json()["studies"][0]


def accept(client, reader="ann"):
    listed = client.get("/api/images", params={"reader": reader}).json()
    assert listed["studies"]  # the page shows the way back to them
    (image,) = listed["images"]
    address, who = f"/api/images/{image['id']}", {"reader": reader}
    words = client.get(address, params=who).json()["words"]
    finding = {"label": "benign", "words": words}
    seen = client.put(f"{address}/finding", params=who, json=finding).json()
    body = {"after": seen["revision"], "words": seen["words"]}
    answer = client.post(f"{address}/accept", params=who, json=body)
    assert answer.status_code == 200, answer.text


def results(archive):
    return sorted(one.Modality for one in archive.headers() if one.Modality != "US")


def test_studies_are_listed_latest_first_and_filtered(client, archive):
    answer = client.get("/api/studies").json()
    assert answer["server"] == archive.web_url
    assert [study["date"] for study in answer["studies"]] == ["20260102", "20260101"]
    assert answer["studies"][0]["patient"] == "P1"
    only = client.get("/api/studies", params={"days": "20260102-"}).json()["studies"]
    assert [study["date"] for study in only] == ["20260102"]
    client.get("/api/studies", params={"patient": "Doe*"})
    client.get("/api/studies", params={"patient": "P1"})
    asked = "\n".join(archive.calls)
    assert "PatientName=Doe%2A&" in asked
    assert "PatientID=P1&" in asked
    assert client.get("/api/studies", params={"days": "20261332"}).status_code == 422


def add_studies(archive, scan, days):
    """Adds a study for each day; their order on the server is that of `days`."""
    for number, day in enumerate(days):
        dataset = pydicom.dcmread(io.BytesIO(scan))
        uids = [f"2.25.{kind}{number}" for kind in (7, 8, 9)]
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, uid = uids
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.StudyDate = day
        content = io.BytesIO()
        dataset.save_as(content)
        archive.add(content.getvalue())


@pytest.mark.parametrize("most", [1000, 10, 3])
def test_all_studies_are_listed_or_the_latest_and_a_word_that_there_are_more(
    client, archive, scans, monkeypatch, most
):
    monkeypatch.setattr("sonoseg.serve.studies.MOST", most)
    archive.skips_twice = True
    days = ["19991231", "20260101", "", "20260511", "20260511", "20250101", "19700101"]
    add_studies(archive, scans[0], [*days, "20260510", "21000101", "20260601"])
    answer = client.get("/api/studies").json()
    wanted = sorted([*days, "20260510", "21000101", "20260601"], reverse=True)
    wanted = sorted([*wanted, "20260101", "20260102"], reverse=True)
    found = [study["date"] for study in answer["studies"]]
    assert found == wanted[:most]
    assert answer["is_cut"] == (most < len(wanted))


@pytest.mark.parametrize("undated", [1, 3, 4])
def test_studies_without_a_date_are_not_left_out_in_silence(
    client, archive, scans, monkeypatch, undated
):
    """With the two of the archive there are five with a date, and 6, 8 or 9 in all."""
    monkeypatch.setattr("sonoseg.serve.studies.MOST", 7)
    days = ["20260510", "20260511", "20260512"] + [""] * undated
    add_studies(archive, scans[0], days)
    answer = client.get("/api/studies").json()
    count = len(days) + 2
    assert len(answer["studies"]) == (count if count <= 7 else 5)
    assert answer["is_cut"] == (count > 7)


def test_more_studies_on_one_day_than_fit_are_cut(client, archive, scans, monkeypatch):
    monkeypatch.setattr("sonoseg.serve.studies.MOST", 3)
    add_studies(archive, scans[0], ["20260511"] * 6)
    answer = client.get("/api/studies", params={"days": "20260511"}).json()
    assert (len(answer["studies"]), answer["is_cut"]) == (3, True)


def test_a_study_is_opened_twice_and_its_results_are_stored_once(
    app, client, archive, tmp_path
):
    study = first_study(client)
    for _ in range(2):
        answer = client.post(f"/api/studies/{study['study']}")
        assert answer.json() == {"images": 1, "missing": []}
    (file,) = (tmp_path / "scans").glob("*.dcm")
    assert file.name.startswith("20260102_")
    assert "Doe" not in file.name
    accept(client)
    outbox_of(app).send()
    assert results(archive) == ["SEG", "SR"]
    stored = [one for one in archive.headers() if one.Modality != "US"]
    assert {one.StudyInstanceUID for one in stored} == {study["study"]}
    client.post(f"/api/studies/{study['study']}")
    (image,) = client.get("/api/images", params={"reader": "ann"}).json()["images"]
    assert image["state"] == "accepted"
    outbox_of(app).send()
    assert archive.posts == 2


def test_a_study_that_another_version_of_the_server_sends_is_the_same(client, archive):
    study = first_study(client)["study"]
    client.post(f"/api/studies/{study}")
    accept(client)
    for name, content in list(archive.files.items()):
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.file_meta.ImplementationVersionName = "LATER"
        dataset.file_meta.SourceApplicationEntityTitle = "ARCHIVE"
        again = io.BytesIO()
        dataset.save_as(again)
        archive.files[name] = again.getvalue()
        assert archive.files[name] != content
    client.post(f"/api/studies/{study}")
    (image,) = client.get("/api/images", params={"reader": "ann"}).json()["images"]
    assert image["state"] == "accepted"


def test_a_study_that_was_corrected_on_the_server_is_fetched_again(
    app, client, archive, tmp_path
):
    """The side and the name of the patient were wrong; the UIDs stay."""
    study = first_study(client)["study"]
    client.post(f"/api/studies/{study}")
    accept(client)
    outbox_of(app).send()
    for name, content in list(archive.files.items()):
        dataset = pydicom.dcmread(io.BytesIO(content))
        if dataset.StudyInstanceUID == study and dataset.Modality == "US":
            dataset.PatientName, dataset.ImageLaterality = "New^Name", "L"
            corrected = io.BytesIO()
            dataset.save_as(corrected)
            archive.files[name] = corrected.getvalue()
    client.post(f"/api/studies/{study}")
    (file,) = (tmp_path / "scans").glob("*.dcm")
    assert pydicom.dcmread(file).PatientName == "New^Name"
    (image,) = client.get("/api/images", params={"reader": "ann"}).json()["images"]
    assert (image["state"], image["label"]) == ("open", "")
    accept(client)
    outbox_of(app).send()
    assert results(archive) == ["SEG", "SEG", "SR", "SR"]
    reports = [one for one in archive.headers() if one.Modality == "SR"]
    assert {str(one.PatientName) for one in reports} == {NAME, "New^Name"}
    assert "Left breast" in str(reports[-1])
    names = [path.name for path in (tmp_path / "scans").iterdir()]
    assert sorted(names) == sorted([file.name, "annotations"])


def test_what_was_not_stored_when_it_was_killed_is_stored_by_the_next(
    app, client, segmenter, archive, tmp_path
):
    client.post(f"/api/studies/{first_study(client)['study']}")
    accept(client)
    archive.fault = fails(503, 99, "POST")
    with pytest.raises(Unreachable):
        outbox_of(app).send()
    assert outbox_of(app).status["waiting"] == 2
    archive.fault = lambda *_: False
    address = parse_address(archive.web_url)
    app.state.service.session.close()
    again = build_app(segmenter, folder=tmp_path / "scans", dicomweb=address)
    with TestClient(again, base_url=ADDRESS):  # the outbox runs
        end = time.monotonic() + 60
        while results(archive) != ["SEG", "SR"] and time.monotonic() < end:
            time.sleep(0.05)
    assert results(archive) == ["SEG", "SR"]
    assert archive.posts == 2


def test_results_of_images_from_elsewhere_are_not_sent(
    app, client, scans, archive, tmp_path
):
    (tmp_path / "scans" / "own.dcm").write_bytes(scans[0])
    accept(client)
    outbox_of(app).send()
    assert results(archive) == []


def test_a_refused_result_is_counted_and_named_once(app, client, archive, caplog):
    client.post(f"/api/studies/{first_study(client)['study']}")
    accept(client)
    archive.failure = 0x0122
    with caplog.at_level(logging.WARNING, "sonoseg"):
        outbox_of(app).send()
        outbox_of(app).send()
    assert outbox_of(app).status["refused"] == 2
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert not any("Doe" in line or "script" in line for line in lines)


@pytest.mark.parametrize("status", [401, 403, 407, 302, 404, 405])
def test_a_login_or_an_address_that_is_mended_loses_no_result(
    app, client, archive, status
):
    client.post(f"/api/studies/{first_study(client)['study']}")
    accept(client)
    archive.fault = fails(status, 1, "POST")
    with pytest.raises(Unreachable, match=f"status {status}"):
        outbox_of(app).send()
    assert outbox_of(app).status == {"waiting": 2, "refused": 0, "is_away": False}
    outbox_of(app).send()
    assert results(archive) == ["SEG", "SR"]
    assert outbox_of(app).status["waiting"] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>Log in</html>", "not that of DICOMweb"),
        (b'{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}', "did not store"),
    ],
    ids=["proxy", "full disk"],
)
def test_what_does_not_say_stored_is_not_taken_for_it(
    app, client, archive, tmp_path, content, words
):
    client.post(f"/api/studies/{first_study(client)['study']}")
    accept(client)

    def fault(handler, method, path):
        if method == "POST":
            handler.answer(200, content)
        return method == "POST"

    archive.fault = fault
    with pytest.raises(Unreachable, match=words):
        outbox_of(app).send()
    assert outbox_of(app).status["waiting"] == 2
    assert not (tmp_path / "scans" / "annotations" / "sent.txt").exists()
    archive.fault = lambda *_: False
    outbox_of(app).send()
    assert results(archive) == ["SEG", "SR"]


def test_a_result_that_is_too_large_waits_and_holds_up_no_other(app, client, archive):
    client.post(f"/api/studies/{first_study(client)['study']}")
    accept(client)
    archive.fault = fails(413, 1, "POST")
    with pytest.raises(Unreachable, match="too large"):
        outbox_of(app).send()
    assert results(archive) == ["SR"]
    assert outbox_of(app).status["waiting"] == 1
    outbox_of(app).send()
    assert results(archive) == ["SEG", "SR"]


def test_a_server_that_is_away_is_an_answer(client, archive):
    study = first_study(client)["study"]
    archive.fault = fails(503, 99, "GET")
    for answer in (client.get("/api/studies"), client.post(f"/api/studies/{study}")):
        assert answer.status_code == 502
        assert answer.json()["subject"] == "DICOMweb"


@pytest.mark.parametrize("study", ["%2e%2e", "1..2", "1.2%2f3", "abc", "1" * 65])
def test_only_uids_are_asked_for(client, archive, study):
    archive.calls.clear()
    assert client.post(f"/api/studies/{study}").status_code in (404, 405, 422)
    assert archive.calls == []


def test_a_cut_download_leaves_nothing(client, archive, tmp_path):
    study = first_study(client)["study"]

    def fault(handler, method, path):
        if "/instances/" not in path:
            return False
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + bytes(5000)
        handler.answer_part(body, "boundary=b")
        return True

    archive.fault = fault
    assert client.post(f"/api/studies/{study}").status_code == 502
    names = [path.name for path in (tmp_path / "scans").iterdir()]
    assert names == ["annotations"]


@pytest.mark.parametrize("status", [404, 500])
def test_an_image_that_does_not_come_does_not_hold_up_the_others(
    client, archive, scans, tmp_path, status
):
    study = first_study(client)["study"]
    for number in (1, 2):
        dataset = pydicom.dcmread(io.BytesIO(scans[1]))
        uid = f"2.25.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        content = io.BytesIO()
        dataset.save_as(content)
        archive.add(content.getvalue())

    def fault(handler, method, path):
        if not path.endswith("/instances/2.25.1"):
            return False
        handler.answer(status, b"")
        return True

    archive.fault = fault
    reason = f"2.25.1: it answers with status {status}"
    answer = client.post(f"/api/studies/{study}")
    assert answer.json() == {"images": 3, "missing": [reason]}
    assert len(list((tmp_path / "scans").glob("*.dcm"))) == 2


def test_a_file_of_another_study_is_not_put_among_the_images(
    client, archive, scans, tmp_path
):
    study = first_study(client)["study"]

    def fault(handler, method, path):
        if "/instances/" not in path:
            return False
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + scans[0]
        handler.answer_part(body + b"\r\n--b--\r\n", "boundary=b")
        return True

    archive.fault = fault
    answer = client.post(f"/api/studies/{study}")
    assert answer.status_code == 502
    assert answer.json()["problem"] == "it sends another image than it lists"
    assert list((tmp_path / "scans").glob("*.dcm")) == []


def test_a_folder_of_another_server_is_refused(app, client, segmenter, tmp_path):
    client.post(f"/api/studies/{first_study(client)['study']}")
    app.state.service.session.close()
    address = parse_address("http://127.0.0.1:9/dicom-web")
    with pytest.raises(InputError, match="another server"):
        build_app(segmenter, folder=tmp_path / "scans", dicomweb=address)


def test_without_a_server_there_are_no_studies(segmenter, tmp_path):
    app = build_app(segmenter, folder=tmp_path)
    client = TestClient(app, base_url=ADDRESS)
    assert client.get("/api/studies").status_code == 404
    assert client.get("/studies").status_code == 200  # it says so
    app.state.service.session.close()


def test_a_wrong_address_is_one_line(capsys, tmp_path):
    words = ["serve", str(tmp_path / "x"), "--no-browser", "--dicomweb", "ftp://a:b@c"]
    assert main(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "a:b" not in lines[0]
    assert list(tmp_path.iterdir()) == []
