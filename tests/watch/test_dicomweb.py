"""`sonoseg watch --dicomweb` against a small server: each image once, nothing lost, whatever the server does."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from datetime import date, timedelta

import pydicom
import pytest
from orthanc_archive import fails
from web_archive import WebArchive

from sonoseg.cli import main
from sonoseg.dicom.objects import segment_to_objects
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError, MachineError
from sonoseg.watch.address import parse_address
from sonoseg.watch.dicomweb import DicomWeb
from sonoseg.watch.handled import Handled
from sonoseg.watch.multipart import only_part
from sonoseg.watch.new_instances import NewInstances
from sonoseg.watch.stored import StoreAnswer, read_store_answer
from sonoseg.watch.transport import Refusal, Transport, Unreachable
from sonoseg.watch.watcher import Watcher

LOGIN = b"<html><body>Log in</body></html>"


@pytest.fixture
def archive():
    server = WebArchive()
    yield server
    server.stop()


@pytest.fixture
def watcher_of(segmenter, tmp_path):
    """Makes a watcher that does not sleep; its pauses are in `pauses`."""

    def make(archive, days=None):
        address = parse_address(archive.web_url)
        handled = Handled(tmp_path / "state", address.url)
        feed = NewInstances(DicomWeb(Transport(address, 10.0)), handled, days)
        pauses = []
        watcher = Watcher(feed, segmenter, Options(), pauses.append)
        watcher.pauses = pauses
        return watcher

    return make


def kinds(archive):
    results = [one.Modality for one in archive.headers() if one.Modality != "US"]
    return sorted(results)


def fetched(archive):
    calls = [call for call in archive.calls if "/instances/" in call]
    archive.calls.clear()
    return calls


class Enough(Exception):
    """Ends a watcher that would not end by itself."""


def run_until(watcher, condition):
    pause = watcher._sleep

    def sleep(seconds):
        pause(seconds)
        if condition():
            raise Enough
        assert len(watcher.pauses) < 20

    watcher._sleep = sleep
    with pytest.raises(Enough):
        watcher.run()


@pytest.mark.parametrize(
    "settings",
    [{}, {"page": 1}, {"knows_offset": False}, {"counts": False, "page": 2}],
    ids=str,
)
def test_each_image_gets_seg_and_sr_and_results_are_no_input(
    archive, scans, watcher_of, segmenter, settings
):
    for name, value in settings.items():
        setattr(archive, name, value)
    for scan in (scans[0], scans[3]):
        archive.add(scan)
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]
    assert (watcher.counts.segmented, watcher.counts.failed) == (2, 0)
    wanted = set()
    for scan in (scans[0], scans[3]):
        for content in segment_to_objects(segmenter, read_dicom(scan)).files:
            wanted.add(pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID)
    stored = {one.SOPInstanceUID for one in archive.headers() if one.Modality != "US"}
    assert stored == wanted
    fetched(archive)
    watcher.run(once=True)
    assert fetched(archive) == []
    assert archive.posts == 4


def test_it_goes_on_where_it_stopped(archive, scans, watcher_of, segmenter):
    archive.add(scans[0])
    watcher_of(archive).run(once=True)
    # Another image of the same series.
    archive.add(changed(scans[0], SOPInstanceUID="2.25.7"))
    fetched(archive)
    watcher_of(archive).run(once=True)
    (call,) = fetched(archive)
    assert call.endswith("/instances/2.25.7")
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]


def test_killed_between_storing_and_noting_nothing_is_twice(archive, scans, tmp_path):
    archive.add(scans[0])
    archive.refuses_duplicates = True
    state = tmp_path / "state"
    command = [sys.executable, "-m", "sonoseg", "watch", "--dicomweb", archive.web_url]
    command += ["--once", "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    archive.after_store = lambda: archive.posts == 2 and process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert not state.exists()
    stored = dict(archive.files)
    assert kinds(archive) == ["SEG", "SR"]
    archive.after_store = lambda: None
    assert main(command[3:]) == 0
    assert archive.posts == 4  # sent again, under the same UIDs
    assert archive.files == stored
    lines = state.read_text().splitlines()
    assert lines[0] == f"handled of {archive.web_url}"
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        ("GET /dicom-web/series", 503),
        ("GET /dicom-web/studies", 502),
        ("POST /dicom-web/studies", 500),
    ],
)
def test_a_server_that_does_not_work_is_waited_for(
    archive, scans, watcher_of, caplog, begin, status
):
    archive.add(scans[0])
    archive.fault = fails(status, 3, begin)
    watcher = watcher_of(archive)
    with caplog.at_level(logging.WARNING, "sonoseg"):
        run_until(watcher, lambda: kinds(archive) == ["SEG", "SR"])
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert f"status {status}" in lines[0]
    assert watcher.pauses[:3] == [1, 2, 4]
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 0)


def test_a_server_that_is_away_is_waited_for(scans, watcher_of):
    archive = WebArchive()
    archive.add(scans[0])
    port = archive.server_port
    archive.stop()
    watcher = watcher_of(archive)
    again = []

    def come_back():
        if len(watcher.pauses) == 2:
            again.append(WebArchive(port))
            again[0].add(scans[0])
        return bool(again) and kinds(again[0]) == ["SEG", "SR"]

    run_until(watcher, come_back)
    again[0].stop()


def test_no_room_is_waited_for_and_other_failures_are_passed_over(
    archive, scans, watcher_of
):
    archive.add(scans[0])
    archive.failure = 0xA700
    watcher = watcher_of(archive)
    with pytest.raises(MachineError, match="no room"):
        watcher.run(once=True)
    archive.failure = 0x0122  # the class of the object is not supported
    watcher.run(once=True)
    assert (watcher.counts.segmented, watcher.counts.failed) == (0, 1)
    assert kinds(archive) == []


def test_only_studies_of_the_last_days_are_looked_at(archive, scans, watcher_of):
    for scan, age in ((scans[0], 1), (scans[3], 30)):
        day = date.today() - timedelta(days=age)
        archive.add(changed(scan, StudyDate=f"{day:%Y%m%d}"))
    watcher_of(archive, days=7).run(once=True)
    assert kinds(archive) == ["SEG", "SR"]


@pytest.mark.parametrize("uid", ["../../secret", "..", "1.2/secret", "", "ANON-1.2"])
def test_what_is_no_uid_is_passed_over_and_not_asked_for(
    archive, scans, watcher_of, uid, caplog
):
    archive.add(scans[0])
    (header,) = archive.headers()
    pairs = ("1.2", uid), (header.StudyInstanceUID, header.SeriesInstanceUID)
    series = [
        {"0020000D": {"Value": [one]}, "0020000E": {"Value": [two]}}
        for one, two in pairs
    ]

    def fault(handler, method, path):
        if method == "GET" and path.startswith("/dicom-web/series?"):
            entries = series if "offset=0" in path else []
            handler.answer(200, json.dumps(entries).encode())
            return True
        return False

    archive.fault = fault
    watcher = watcher_of(archive)
    for _ in range(2):
        watcher.run(once=True)
    assert kinds(archive) == ["SEG", "SR"]
    assert caplog.text.count("is no UID; what it names is passed over") == 1
    assert not any("secret" in call or "ANON" in call for call in archive.calls)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_takes_no_results_loses_none(archive, scans, watcher_of, status):
    for scan in (scans[0], scans[3]):
        archive.add(scan)
    archive.fault = fails(status, 1, "POST")
    watcher = watcher_of(archive)
    with pytest.raises(MachineError, match=rf"does not take results .*{status}"):
        watcher.run(once=True)
    assert kinds(archive) == []
    watcher_of(archive).run(once=True)  # what is noted on the disk is all that it knows
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]


def test_results_that_are_too_large_do_not_stop_the_others(
    archive, scans, watcher_of, caplog
):
    """A proxy limits bodies: the loop's results are refused each time, and tried again by the next process."""
    for scan in (scans[3], scans[0]):
        archive.add(scan)
    large = pydicom.dcmread(io.BytesIO(scans[3])).SOPInstanceUID
    sent = []

    def fault(handler, method, path):
        if method != "POST":
            return False
        sent.append(int(handler.headers["Content-Length"]))
        if len(sent) == 1:
            handler.answer(413, b"")
        return len(sent) == 1

    archive.fault = fault
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 1)
    assert kinds(archive) == ["SEG", "SR"]
    assert f"instance {large}: its SEG is too large" in caplog.text
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]


def uid_of(scan):
    return pydicom.dcmread(io.BytesIO(scan), stop_before_pixels=True).SOPInstanceUID


def undelivered(scans, content, status=504):
    """A fault: these images are listed, and their files do not come, or not whole."""
    paths = tuple(f"/instances/{uid_of(scan)}" for scan in scans)

    def fault(handler, method, path):
        if method != "GET" or not path.endswith(paths):
            return False
        if content:
            handler.answer(200, content, 2 * len(content))
            handler.close_connection = True
        else:
            handler.answer(status, b"")
        return True

    return fault


@pytest.mark.parametrize("content", [b"", bytes(9000)], ids=["504", "cut"])
def test_images_that_are_never_delivered_do_not_hold_up_the_others(
    archive, scans, watcher_of, caplog, content
):
    for scan in scans:
        archive.add(scan)
    archive.fault = undelivered(scans[:2], content)
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]
    assert (watcher.counts.segmented, watcher.counts.failed) == (2, 2)
    assert sum(watcher.pauses) <= 6
    for scan in scans[:2]:
        asked = [call for call in fetched_of(archive, scan) if "GET" in call]
        assert len(asked) == 3
        assert caplog.text.count(f"instance {uid_of(scan)}: ") == 1
    archive.fault = lambda *_: False
    watcher_of(archive).run(once=True)  # they are not noted
    assert kinds(archive) == ["SEG"] * 4 + ["SR"] * 4


@pytest.mark.parametrize(
    ("status", "kind", "content"),
    [
        (404, "", b""),
        (410, "", b""),
        (400, "", b""),
        (200, "application/dicom+json", b'{"error": "not now"}'),
        (200, "application/xhtml+xml", LOGIN),
        (200, "text/html", LOGIN),
        (200, "application/dicom", b""),
        (200, 'multipart/related; boundary="b"', b"--b\r\n\r\n\r\n--b--"),
    ],
)
def test_an_image_that_is_refused_once_is_not_lost(
    archive, scans, watcher_of, status, kind, content
):
    archive.add(scans[0])
    left = [1]

    def fault(handler, method, path):
        if "/instances/" not in path or not left:
            return False
        left.clear()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        return True

    archive.fault = fault
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert kinds(archive) == ["SEG", "SR"]
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 0)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (202, b'{"00081198": {"Value": [{"00081197": {"Value": [272]}}]}}'),
        (200, b'{"00081198": {"Value": [{"00081197": {"Value": [43264]}}]}}'),
        (400, b""),
    ],
)
def test_a_report_that_is_refused_once_follows_its_segmentation(
    archive, scans, watcher_of, caplog, status, content
):
    archive.add(scans[0])
    sent = []

    def fault(handler, method, path):
        if method != "POST":
            return False
        sent.append(path)
        if len(sent) == 2:
            handler.answer(status, content)
        return len(sent) == 2

    archive.fault = fault
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert (watcher.counts.segmented, watcher.counts.failed) == (0, 1)
    assert kinds(archive) == ["SEG"]
    assert f"instance {uid_of(scans[0])}: its SR was not stored (" in caplog.text
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SR"]


def fetched_of(archive, scan):
    return [call for call in archive.calls if call.endswith(uid_of(scan))]


def changed(scan, **tags):
    dataset = pydicom.dcmread(io.BytesIO(scan))
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


@pytest.mark.parametrize(
    "tags",
    [
        {"StudyInstanceUID": "1.2.3.9999", "PatientID": "X99"},
        {"SOPInstanceUID": "2.25.9"},
    ],
    ids=["another study", "another image"],
)
def test_a_file_of_another_image_than_was_asked_for_gets_no_results(
    archive, scans, tmp_path, capsys, monkeypatch, tags
):
    monkeypatch.setattr("sonoseg.watch.watcher._FIRST_WAIT", 0.0)
    monkeypatch.setattr("sonoseg.watch.watcher._LONGEST_WAIT", 0.0)
    archive.add(scans[0])
    other = changed(scans[0], **tags)

    def fault(handler, method, path):
        if not path.endswith(f"/instances/{uid_of(scans[0])}"):
            return False
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + other
        handler.answer_part(body + b"\r\n--b--\r\n", "boundary=b")
        return True

    archive.fault = fault
    words = ["watch", "--dicomweb", archive.web_url, "--once"]
    words += ["--state", str(tmp_path / "state")]
    assert main(words) == 1
    assert kinds(archive) == []
    line = f"instance {uid_of(scans[0])}: it sends another image than it lists"
    assert capsys.readouterr().err.count(line) == 1
    archive.fault = lambda *_: False
    assert main(words) == 0
    assert kinds(archive) == ["SEG", "SR"]


def test_what_was_passed_over_is_tried_again_after_a_while(
    archive, scans, watcher_of, monkeypatch
):
    monkeypatch.setattr("sonoseg.watch.watcher._RETRY_SECONDS", 100.0)
    archive.add(scans[0])
    archive.fault = undelivered([scans[0]], b"")
    watcher = watcher_of(archive)

    def is_over():
        if sum(watcher.pauses) > 90:
            archive.fault = lambda *_: False
        else:
            assert len(fetched_of(archive, scans[0])) <= 3
        return kinds(archive) == ["SEG", "SR"] or sum(watcher.pauses) > 200

    run_until(watcher, is_over)
    assert kinds(archive) == ["SEG", "SR"]
    assert watcher.counts.segmented == 1


def test_an_image_that_takes_the_place_of_another_is_found_after_a_while(
    archive, scans, watcher_of, monkeypatch
):
    """The series has as many images as before."""
    monkeypatch.setattr("sonoseg.watch.watcher._RETRY_SECONDS", 100.0)
    archive.add(scans[0])
    watcher = watcher_of(archive)

    def is_over():
        if len(watcher.pauses) == 2:
            archive.files = {"new": changed(scans[0], SOPInstanceUID="2.25.9")}
        return sum(watcher.pauses) > 150

    run_until(watcher, is_over)
    assert kinds(archive) == ["SEG", "SR"]
    assert watcher.counts.segmented == 2


@pytest.mark.parametrize(("images", "warnings"), [(3, 1), (2, 1), (1, 0)])
def test_a_server_that_may_list_only_the_first_images_is_named_once(
    archive, scans, watcher_of, caplog, monkeypatch, images, warnings
):
    """It does as `limit` says, and does not know `offset`."""
    monkeypatch.setattr("sonoseg.watch.dicomweb.DicomWeb.search.__defaults__", (2,))
    archive.knows_offset = False
    for number in range(images):
        archive.add(changed(scans[0], SOPInstanceUID=f"2.25.{number + 1}"))
    watcher = watcher_of(archive)
    for _ in range(2):
        watcher.run(once=True)
        watcher._is_checked = False
    assert watcher.counts.segmented == min(images, 2)
    assert caplog.text.count("lists only its first 2 of ") == warnings


def test_a_server_that_is_down_is_waited_for_without_passing_over(
    archive, scans, watcher_of
):
    """It fails in the midst of a download, and then for long."""
    archive.add(scans[0])
    down = []

    def fault(handler, method, path):
        if "/instances/" in path:
            down.append(path)
        if not down or len(watcher.pauses) >= 12:
            return False
        handler.answer(503, b"")
        return True

    archive.fault = fault
    watcher = watcher_of(archive)
    run_until(watcher, lambda: kinds(archive) == ["SEG", "SR"])
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 0)


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("GET", 301),
        ("GET", 307),
        ("GET", 406),
        ("GET", 407),
        ("POST", 302),
        ("POST", 406),
    ],
)
def test_a_redirect_or_a_login_is_no_fault_of_an_image(
    archive, scans, watcher_of, method, status
):
    for scan in (scans[0], scans[3]):
        archive.add(scan)

    def fault(handler, asked, path):
        if asked != method or (method == "GET" and "/instances/" not in path):
            return False
        handler.answer(status, b"")
        return True

    archive.fault = fault
    watcher = watcher_of(archive)
    with pytest.raises(InputError):
        watcher.run(once=True)
    assert watcher.counts.failed == 0
    archive.fault = lambda *_: False
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]


XML = (
    b'<?xml version="1.0" encoding="utf-8"?><NativeDicomModel%s>'
    b'<DicomAttribute tag="00081198" vr="SQ">%s</DicomAttribute>'
    b'<DicomAttribute tag="00081199" vr="SQ"><Item number="1"/></DicomAttribute>'
    b"</NativeDicomModel>"
)
NAMESPACE = b' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
FAILED = (
    b'<Item number="1"><DicomAttribute tag="00081197" vr="US">'
    b'<Value number="1">%d</Value></DicomAttribute></Item>'
)
BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    b"<NativeDicomModel>&b;</NativeDicomModel>"
)


FULL_JSON = b'{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}'
"""Of Orthanc 1.10 with a full disk: no failure, and nothing was stored."""
FULL_XML = XML.replace(b'<Item number="1"/>', b"") % (NAMESPACE, b"")


@pytest.mark.parametrize(
    ("answer", "reasons", "stored"),
    [
        (b"", (), None),
        (b"{}", (), None),
        (b'{"00081199": {"Value": [{}]}, "00081198": {"vr": "SQ"}}', (), 1),
        (
            b'{"00081198": {"Value": [{"00081197": {"Value": [272]}}, {}]}}',
            (272, 0),
            None,
        ),
        (b'[{"0008119A": {"Value": [{"00081197": {"Value": [273]}}]}}]', (273,), None),
        (b'[{"00081199": {"Value": [{}]}}, {"00081199": {"vr": "SQ"}}]', (), 1),
        (FULL_JSON, (), 0),
        (FULL_XML, (), 0),
        (XML % (b"", b""), (), 1),
        (XML % (NAMESPACE, b'<Value number="1" />'), (), 1),
        (XML % (NAMESPACE, FAILED % 272 + b"<Item/>"), (272, 0), 1),
        (b"\xef\xbb\xbf" + XML % (b"", FAILED % 273), (273,), 1),
    ],
)
def test_what_was_stored_is_read_from_json_and_xml(answer, reasons, stored):
    assert read_store_answer(answer) == StoreAnswer(reasons, stored)


DEEP = b"<DicomAttribute><Item>" * 5000 + b"</Item></DicomAttribute>" * 5000


@pytest.mark.parametrize(
    "answer",
    [
        LOGIN,
        LOGIN[:-9],
        b"<!DOCTYPE html>" + LOGIN,
        BOMB,
        b"<NativeDicomModel>" + DEEP + b"</NativeDicomModel>",
        b"success",
        b"[]",
        b'{"error": "log in"}',
    ],
    ids=range(8),
)
def test_what_is_no_answer_of_dicomweb_says_nothing(answer):
    assert read_store_answer(answer) is None


def answers_post(status, content, times=99):
    """A fault: results are not stored, and the first requests are answered with this."""
    left = [times]

    def fault(handler, method, path):
        if method != "POST" or not left[0]:
            return False
        left[0] -= 1
        handler.answer(status, content)
        return True

    return fault


@pytest.mark.parametrize("content", [LOGIN, b"<!DOCTYPE html>" + LOGIN, b"success"])
def test_a_page_in_place_of_an_answer_is_no_success(
    archive, scans, watcher_of, content
):
    archive.add(scans[0])
    archive.fault = answers_post(200, content)
    with pytest.raises(MachineError, match="not that of DICOMweb"):
        watcher_of(archive).run(once=True)
    archive.fault = lambda *_: False
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert (watcher.counts.segmented, kinds(archive)) == (1, ["SEG", "SR"])


@pytest.mark.parametrize("content", [FULL_JSON, FULL_XML], ids=["json", "xml"])
def test_a_full_disk_that_is_no_failure_to_the_server_is_waited_for(
    archive, scans, watcher_of, tmp_path, content
):
    archive.add(scans[0])
    archive.fault = answers_post(200, content)
    with pytest.raises(MachineError, match="did not store a result"):
        watcher_of(archive).run(once=True)
    assert not (tmp_path / "state").exists()
    archive.fault = lambda *_: False
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SR"]


@pytest.mark.parametrize(
    ("status", "reason", "segmented"), [(200, 272, 0), (409, 272, 0), (409, 273, 1)]
)
def test_failures_in_xml_are_read(
    archive, scans, watcher_of, status, reason, segmented
):
    archive.add(scans[0])
    archive.fault = answers_post(status, XML % (NAMESPACE, FAILED % reason))
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert watcher.counts.segmented == segmented


@pytest.mark.parametrize("content", [b"<html>", b"{}", b"[3]", b'[{"a": 1}]'])
def test_broken_answers_are_not_believed(archive, content, watcher_of):
    def fault(handler, method, path):
        handler.answer(200, content)
        return True

    archive.fault = fault
    with pytest.raises(MachineError, match="not that of DICOMweb"):
        watcher_of(archive).run(once=True)


def test_an_address_without_dicomweb_is_one_line(archive, watcher_of):
    archive.fault = fails(404, 1, "GET")
    with pytest.raises(InputError, match="give the address of DICOMweb"):
        watcher_of(archive).run(once=True)


def test_a_series_that_was_deleted_is_passed_over(archive, scans, watcher_of):
    archive.add(scans[0])
    archive.fault = fails(404, 1, "GET /dicom-web/studies")
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert watcher.counts.failed == 0


CONTENT = b"\0DICM\r\n--not-the-end\r\n--b\r\n" * 3


def parts(chunks, kind="multipart/related; boundary=bb"):
    return b"".join(only_part(kind, iter(chunks)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_part_is_the_same_however_it_arrives(size):
    answer = b"--bb\r\nContent-Type: application/dicom\r\n\r\n" + CONTENT
    answer += b"\r\n--bb--\r\n"
    chunks = [answer[start : start + size] for start in range(0, len(answer), size)]
    assert parts(chunks) == CONTENT
    assert parts([CONTENT], "application/dicom") == CONTENT


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"--bb\r\nContent-Type: x\r\n\r\n" + CONTENT, Unreachable),
        (b"--bb\r\nno end of the header", Unreachable),
        (b"", Unreachable),
        (b"--bb\r\n\r\n\r\n1\r\n--bb\r\n\r\n2\r\n--bb--", Refusal),
    ],
)
def test_broken_multiparts_are_refused(answer, error):
    with pytest.raises(error):
        parts([answer])
    for kind in ("multipart/related", "text/html; charset=utf-8", "Text/Plain"):
        with pytest.raises(Unreachable):
            parts([CONTENT], kind)
    assert parts([CONTENT], "") == CONTENT


def test_a_line_that_was_cut_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "state"
    handled = Handled(path, "http://a")
    handled.add("1.2.3")
    with path.open("a") as file:
        file.write("1.2.")
    again = Handled(path, "http://a")
    assert "1.2.3" in again
    again.add("1.2.4")
    assert path.read_text() == "handled of http://a\n1.2.3\n1.2.4\n"


@pytest.mark.parametrize("content", ["", "{}", "handled of http://b\n1.2\n"])
def test_a_state_that_cannot_be_used_is_one_line(content, tmp_path, capsys):
    state = tmp_path / "state"
    state.write_text(content)
    words = ["watch", "--dicomweb", "http://127.0.0.1:9", "--once"]
    assert main([*words, "--state", str(state)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert state.read_text() == content


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["http://127.0.0.1:9", "--dicomweb", "http://127.0.0.1:9"],
        ["http://127.0.0.1:9", "--days", "3"],
        ["--dicomweb", "http://127.0.0.1:9", "--days", "-3"],
        ["--dicomweb", "ftp://u:secret@host"],
    ],
)
def test_options_that_do_not_fit_are_one_line(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *words, "--once"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert list(tmp_path.iterdir()) == []
