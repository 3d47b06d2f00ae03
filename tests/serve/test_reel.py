"""Loops are segmented to their end or to where they can be read, and their threads end with the server."""

import threading

import httpx
import numpy as np
import pytest
from tests.serve.clips import write_clip
from tests.serve.server import Server

from sonoseg.core.image import Image
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.errors import InputError
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.reel import Reel, Spool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.session import Session

PICTURE = Image(np.zeros((16, 16), np.uint8))


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (InputError("video", "is cut short", "copy it again"), 1),
        (Refused(503, "server", "is slow", "wait"), 10),
    ],
)
def test_a_damaged_loop_is_read_once_and_a_busy_server_is_asked_again(
    segmenter, caplog, error, times
):
    def images():
        raise error

    reel = Reel(images, segmenter.segment)
    for _ in range(10):  # the page asks again and again
        reel.start()
        reel.close()
    warnings = [one for one in caplog.records if error.problem in one.getMessage()]
    assert len(warnings) == times


def test_a_disk_that_was_away_is_asked_again_after_a_while(segmenter, monkeypatch):
    tries = []

    def images():
        tries.append(None)
        yield PICTURE
        if len(tries) == 1:
            raise InputError("loop", "cannot be read", "check the disk")
        yield PICTURE

    reel = Reel(images, segmenter.segment)
    for seconds in (60.0, 60.0, 0.0):
        monkeypatch.setattr("sonoseg.serve.reel._AGAIN_SECONDS", seconds)
        reel.start()
        if reel._thread is not None:
            reel._thread.join()
    assert (len(tries), len(reel.shares)) == (2, 2)


def test_a_spool_that_is_closed_decodes_no_more():
    count, may_go_on = [], threading.Event()

    def images():
        for number in range(1000):
            count.append(number)
            yield PICTURE
            may_go_on.wait()

    spool = Spool(images)
    assert spool.frame(1).pixels.shape == (16, 16)
    closing = threading.Thread(target=spool.close)
    closing.start()
    may_go_on.set()
    closing.join()
    assert len(count) < 1000
    with pytest.raises(InputError):
        spool.frame(1000)


def test_a_frame_that_is_not_decoded_yet_is_not_called_missing(monkeypatch):
    may_go_on = threading.Event()

    def images():
        may_go_on.wait()
        yield PICTURE

    monkeypatch.setattr("sonoseg.serve.reel._PATIENCE", 0)
    spool = Spool(images)
    with pytest.raises(Refused) as refused:
        spool.frame(1)
    assert refused.value.status_code == 503
    may_go_on.set()
    spool.close()


@pytest.fixture(params=["dicom", "video"])
def loop_folder(tmp_path, request):
    """A folder with a loop."""
    if request.param == "video":
        write_clip(tmp_path / "clip.mkv", range(0, 8000, 40))
        return tmp_path
    write_dicom_phantoms(tmp_path, 3)
    return tmp_path / "images"


def test_no_thread_of_a_loop_outlives_its_server(segmenter, loop_folder):
    before = set(threading.enumerate())
    limits = Limits()
    session = Session(loop_folder, segmenter, Pool(limits), limits)
    scenes = session.album.refresh().values()
    (scene,) = (one for one in scenes if one.frames > 1)
    while not session.album.loop(scene).shares(scene):
        pass
    session.close()
    left = set(threading.enumerate()) - before
    assert not [one for one in left if "_run" in one.name]  # others end by themselves


def test_ctrl_c_in_the_middle_of_a_loop_is_quiet(loop_folder):
    server = Server(loop_folder)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        entries = client.get("/api/images").json()["images"]
        (loop,) = (one["id"] for one in entries if one["frames"] > 1)
        while not client.get(f"/api/images/{loop}-1/frames").json()["shares"]:
            pass
    assert server.stop()[0] == 0
    assert server.errors == ""
