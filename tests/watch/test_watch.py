"""`sonoseg watch` against a small archive: each image once, nothing lost, whatever the server does."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading

import numpy as np
import pydicom
import pytest
from orthanc_archive import Archive, fails, identifier_of

from sonoseg.cli import main
from sonoseg.dicom.options import Options
from sonoseg.dicom.regions import CONTRADICTED
from sonoseg.dicom.segment import segment_still
from sonoseg.errors import InputError, MachineError
from sonoseg.watch.address import parse_address
from sonoseg.watch.orthanc import Orthanc
from sonoseg.watch.position import Position
from sonoseg.watch.transport import Transport
from sonoseg.watch.watcher import Watcher


@pytest.fixture
def watcher_of(segmenter, tmp_path):
    """Makes a watcher that does not sleep; its pauses are in `pauses`."""

    def make(archive, timeout=10.0):
        address = parse_address(archive.url)
        position = Position.read(tmp_path / "state.json", address.url)
        pauses = []
        server = Orthanc(Transport(address, timeout), position)
        watcher = Watcher(server, segmenter, Options(), pauses.append)
        watcher.pauses = pauses
        return watcher

    return make


def kinds(archive):
    return sorted(
        one.Modality for name in ("SEG", "SR") for one in archive.datasets(name)
    )


def test_each_image_gets_seg_and_sr_in_its_study(archive, scans, watcher_of, segmenter):
    for scan in scans[:3]:
        archive.add(scan)
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert kinds(archive) == ["SEG"] * 3 + ["SR"] * 3
    images = {one.StudyInstanceUID for one in archive.datasets("US")}
    assert {one.StudyInstanceUID for one in archive.datasets("SEG")} == images
    assert {one.StudyInstanceUID for one in archive.datasets("SR")} == images
    assert watcher.counts.segmented == 3
    assert watcher.counts.others == 6  # its own results
    still = pydicom.dcmread(io.BytesIO(scans[0]))
    (seg,) = (
        one
        for one in archive.datasets("SEG")
        if one.StudyInstanceUID == still.StudyInstanceUID
    )
    mask = segment_still(segmenter, scans[0]).mask
    np.testing.assert_array_equal(seg.pixel_array.reshape(-1, *mask.shape).any(0), mask)


def test_the_objects_are_those_of_the_command(archive, scans, watcher_of, tmp_path):
    for number, scan in enumerate(scans[:3]):
        archive.add(scan)
        (tmp_path / f"{number}.dcm").write_bytes(scan)
    watcher_of(archive).run(once=True)
    files = [str(tmp_path / f"{number}.dcm") for number in range(3)]
    out = tmp_path / "out"
    assert main(["segment", *files, "--to", "seg", "sr", "--out", str(out)]) == 0
    for kind in ("seg", "sr"):
        written = [pydicom.dcmread(path) for path in out.glob(f"*_{kind}.dcm")]
        uids = {one.SOPInstanceUID for one in written}
        assert len(uids) == 3
        assert uids == {one.SOPInstanceUID for one in archive.datasets(kind.upper())}


def test_it_goes_on_where_it_stopped(archive, scans, watcher_of):
    archive.add(scans[0])
    watcher_of(archive).run(once=True)
    archive.add(scans[3])
    archive.calls.clear()
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]
    assert len([call for call in archive.calls if call.endswith("/file")]) == 1
    archive.calls.clear()
    watcher_of(archive).run(once=True)
    assert [call for call in archive.calls if "/instances" in call] == []


def test_doubts_are_in_the_log_and_in_the_report(archive, scans, watcher_of, caplog):
    doubted = pydicom.dcmread(io.BytesIO(scans[0]))
    doubted.PixelSpacing = [0.3, 0.3]
    content = io.BytesIO()
    doubted.save_as(content)
    archive.add(content.getvalue())
    with caplog.at_level(logging.INFO, "sonoseg"):
        watcher_of(archive).run(once=True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(f"1 lesion, results stored; do not trust this: {CONTRADICTED}")
    (report,) = archive.datasets("SR")
    assert f"Do not trust this: {CONTRADICTED}." in report.to_json()


def test_a_corrected_image_gets_new_results(archive, scans, watcher_of):
    archive.add(scans[0])
    watcher_of(archive).run(once=True)
    corrected = pydicom.dcmread(io.BytesIO(scans[0]))
    corrected.ImageLaterality, corrected.PatientID = "R", "another"
    content = io.BytesIO()
    corrected.save_as(content)
    archive.files.pop(identifier_of(corrected.SOPInstanceUID))
    archive.add(content.getvalue())
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]
    patients = {one.PatientID for one in archive.datasets("SEG")}
    assert patients == {"another", pydicom.dcmread(io.BytesIO(scans[0])).PatientID}


def test_killed_between_storing_and_noting_nothing_is_twice(archive, scans, tmp_path):
    archive.add(scans[0])
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "sonoseg", "watch", archive.url, "--once"]
    command += ["--state", str(state)]
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
    assert json.loads(state.read_text())["last_change"] == len(archive.changes)


def test_an_image_is_not_left_on_the_disk_by_a_kill(archive, scans, tmp_path):
    archive.add(scans[0])
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "sonoseg", "watch", archive.url, "--once"]
    command += ["--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seen = []

    def fault(handler, method, path):
        if not path.endswith("/file"):
            return False
        handler.answer(200, scans[0][:70_000], len(scans[0]))
        while not seen:
            seen.extend(tmp_path.iterdir())
        process.kill()
        return True

    archive.fault = fault
    process.communicate(timeout=60)
    (left,) = seen
    assert left.stat().st_mode & 0o777 == 0o600
    archive.fault = lambda *_: False
    assert main(command[3:]) == 0
    assert list(tmp_path.iterdir()) == [state]


def test_bad_files_are_one_line_and_passed_over(archive, scans, watcher_of, caplog):
    archive.add(scans[0])
    (bad,) = archive.files
    archive.files[bad] = archive.files[bad][:5000]
    archive.add(scans[3])
    watcher = watcher_of(archive)
    with caplog.at_level(logging.WARNING, "sonoseg"):
        watcher.run(once=True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert bad in line
    assert "cut short" in line
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 1)
    assert kinds(archive) == ["SEG", "SR"]


def test_an_image_that_is_gone_is_passed_over(archive, scans, watcher_of):
    archive.add(scans[0])
    archive.files.clear()
    archive.add(scans[3])
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 1)


def test_a_server_that_fails_at_one_image_does_not_hold_up_the_others(
    archive, scans, watcher_of
):
    archive.add(scans[0])
    (bad,) = archive.files
    archive.add(scans[3])
    archive.fault = fails(500, 99, f"GET /instances/{bad}/file")
    watcher = watcher_of(archive)
    watcher.run(once=True)
    assert (watcher.counts.segmented, watcher.counts.failed) == (1, 1)
    assert watcher.pauses == [1, 2]


def run_until(watcher, condition):
    """Runs in a thread until the condition is true."""

    class Enough(Exception):
        pass

    pause = watcher._sleep

    def sleep(seconds):
        pause(seconds)
        if condition():
            raise Enough

    watcher._sleep = sleep
    problem = []

    def run():
        try:
            watcher.run()
        except Enough:
            pass
        except Exception as error:
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert problem == []


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        ("GET /changes", 503),
        ("GET /instances", 502),
        ("POST /instances", 507),
        ("POST /instances", 500),
    ],
)
def test_a_server_that_does_not_work_is_waited_for(
    archive, scans, watcher_of, caplog, begin, status
):
    archive.add(scans[0])
    archive.fault = fails(status, 4, begin)
    watcher = watcher_of(archive)
    with caplog.at_level(logging.WARNING, "sonoseg"):
        run_until(watcher, lambda: kinds(archive) == ["SEG", "SR"])
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert f"status {status}" in lines[0]
    assert "works again" in lines[1]
    assert watcher.pauses[:4] == [1, 2, 4, 8]
    assert watcher.counts.segmented == 1
    assert watcher.counts.failed == 0


def test_a_server_that_is_away_is_waited_for(scans, watcher_of, caplog):
    archive = Archive()
    archive.add(scans[0])
    port = archive.server_port
    archive.stop()
    watcher = watcher_of(archive)
    again = []

    def come_back():
        if len(watcher.pauses) == 3:
            again.append(Archive(port))
            again[0].add(scans[0])
        return bool(again) and kinds(again[0]) == ["SEG", "SR"]

    with caplog.at_level(logging.WARNING, "sonoseg"):
        run_until(watcher, come_back)
    assert len(caplog.records) == 2
    again[0].stop()


def test_once_does_not_wait(watcher_of):
    archive = Archive()
    archive.stop()
    watcher = watcher_of(archive)
    with pytest.raises(MachineError, match="run the same command again"):
        watcher.run(once=True)
    assert watcher.pauses == []


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"[]", b'{"Changes": 3}', b'{"Changes": [{"Seq": "x"}], "Last": 9}'],
)
def test_broken_answers_are_not_believed(archive, content, watcher_of):
    def fault(handler, method, path):
        handler.answer(200, content)
        return True

    archive.fault = fault
    with pytest.raises(MachineError, match="not that of Orthanc"):
        watcher_of(archive).run(once=True)


def test_an_identifier_that_is_a_path_is_not_asked_for(archive, watcher_of):
    entry = {"ChangeType": "NewInstance", "ID": "../system", "Seq": 1}
    archive.changes.append(entry)
    with pytest.raises(MachineError, match="not that of Orthanc"):
        watcher_of(archive).run(once=True)
    assert not any("system" in call for call in archive.calls)


def test_files_that_are_cut_short_are_fetched_again(archive, scans, watcher_of):
    archive.add(scans[0])
    cut = []

    def fault(handler, method, path):
        if not path.endswith("/file") or len(cut) == 2:
            return False
        cut.append(path)
        handler.answer(200, scans[0][:-99], len(scans[0]))
        handler.close_connection = True
        return True

    archive.fault = fault
    watcher = watcher_of(archive)
    run_until(watcher, lambda: kinds(archive) == ["SEG", "SR"])
    assert len(cut) == 2
    assert watcher.counts.failed == 0


def test_a_silent_server_is_given_up_in_time(archive, watcher_of):
    release = threading.Event()

    def fault(handler, method, path):
        release.wait(30)
        return True

    archive.fault = fault
    watcher = watcher_of(archive, timeout=0.2)
    with pytest.raises(MachineError, match="no answer in time"):
        watcher.run(once=True)
    release.set()


def test_a_new_storage_is_looked_at_from_the_begin(archive, scans, watcher_of):
    for scan in scans[:2]:
        archive.add(scan)
    watcher_of(archive).run(once=True)
    archive.files.clear()
    archive.changes.clear()
    archive.add(scans[3])
    watcher_of(archive).run(once=True)
    assert kinds(archive) == ["SEG", "SR"]


@pytest.mark.parametrize("begins_alike", [False, True])
def test_a_new_storage_with_more_changes_is_looked_at_from_the_begin(
    archive, scans, watcher_of, caplog, begins_alike
):
    """Also if its first image is the same: then the dates of the changes differ."""
    archive.add(scans[0])
    watcher_of(archive).run(once=True)
    handled = len(archive.changes)
    archive.files.clear()
    archive.changes.clear()
    archive.date = "20261129T120000"
    for scan in scans if begins_alike else scans[1:]:
        archive.add(scan)
    assert len(archive.changes) >= handled
    watcher_of(archive).run(once=True)
    images = 4 if begins_alike else 3
    assert kinds(archive) == ["SEG"] * images + ["SR"] * images
    assert caplog.text.count("all of its images are looked at") == 1


def test_a_change_that_was_removed_does_not_begin_anew(
    archive, scans, watcher_of, caplog
):
    archive.add(scans[0])
    watcher_of(archive).run(once=True)
    archive.changes[-1]["Seq"] += 1  # there is none with the number that was noted
    archive.add(scans[3])
    archive.changes[-2]["Seq"] += 1
    archive.changes[-1]["Seq"] += 1
    watcher_of(archive).run(once=True)
    assert "looked at" not in caplog.text
    assert kinds(archive) == ["SEG", "SEG", "SR", "SR"]


def test_redirects_are_not_followed(archive, watcher_of):
    other = Archive()

    def fault(handler, method, path):
        handler.send_response(302)
        handler.send_header("Location", other.url + path)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    archive.fault = fault
    with pytest.raises(InputError, match="status 302"):
        watcher_of(archive).run(once=True)
    assert other.calls == []
    other.stop()


def test_the_password_is_sent_and_never_shown(archive, scans, tmp_path, capsys):
    archive.add(scans[0])
    state = tmp_path / "state.json"
    url = archive.url.replace("//", "//ann:p%40ss@")
    assert main(["watch", url, "--once", "--state", str(state)]) == 0
    assert archive.authorization == "Basic YW5uOnBAc3M="
    archive.fault = fails(401, 9, "GET")
    assert main(["watch", url, "--once", "--state", str(state)]) == 2
    shown = capsys.readouterr()
    assert "does not let sonoseg in" in shown.err
    for text in (shown.out, shown.err, state.read_text()):
        assert "p%40ss" not in text
        assert "p@ss" not in text
        assert "ann" not in text


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8042",
        "file:///etc/passwd",
        "http://",
        "http://a:secret@host:port",
        "http://host/?a=secret",
        "http://host/a secret",
        "ftp://u:secret@host",
    ],
)
def test_other_addresses_are_refused_in_one_line(url, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["watch", url, "--once"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"server": "http://elsewhere", "last_change": 1}',
        '{"last_change": "1"}',
    ],
)
def test_a_state_that_cannot_be_used_is_one_line(content, tmp_path, capsys):
    state = tmp_path / "state.json"
    state.write_text(content)
    assert main(["watch", "http://127.0.0.1:9", "--once", "--state", str(state)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "state.json" in lines[0]
    assert state.read_text() == content


def test_names_of_patients_are_not_logged(archive, scans, watcher_of, caplog):
    dataset = pydicom.dcmread(io.BytesIO(scans[0]))
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "P-17"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    archive.add(buffer.getvalue())
    with caplog.at_level(logging.INFO, "sonoseg"):
        watcher_of(archive).run(once=True)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "Doe" not in lines[0]
    assert "P-17" not in lines[0]
