"""Fetching BUSI from a local server that resumes, does not, breaks off, or lies; with a small table of files."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes

from sonoseg import cli
from sonoseg.data import download
from sonoseg.data.busi import busi_files
from sonoseg.data.download import DownloadError
from sonoseg.data.fetch import BUSI_URL, fetch_busi
from sonoseg.errors import InputError

RNG = np.random.default_rng(0)
FILES = {
    f"{label}/{label} ({number}){end}.png": RNG.bytes(60_000)
    for label in ("benign", "malignant", "normal")
    for number in (1, 2)
    for end in ("", "_mask")
}
TABLE = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def _zip(files: dict[str, bytes], top: str = "Dataset_BUSI_with_GT/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; how it behaves is set by its attributes."""

    content = _zip(FILES)
    etag: str | None = '"one"'
    ranges = True
    break_at: int | None = None  # bytes after which every connection is cut
    pause = 0.0  # seconds after every 10 kB
    lengths = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/Dataset_BUSI.zip"

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        start = 0
        if (
            wanted
            and server.ranges
            and self.headers.get("If-Range", server.etag) == server.etag
        ):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header(
                "Content-Range",
                f"bytes {start}-{len(server.content) - 1}/{len(server.content)}",
            )
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.lengths:
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        stop = (
            len(server.content) if server.break_at is None else start + server.break_at
        )
        for at in range(start, min(stop, len(server.content)), 10_000):
            self.wfile.write(server.content[at : min(at + 10_000, stop)])
            time.sleep(server.pause)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(
            target=running.serve_forever, kwargs={"poll_interval": 0.02}
        )
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Terminal(io.StringIO):
    """What a user sees."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def fetch(server: Server, tmp_path: Path):
    """fetch(**changes): fetches into tmp_path/busi; the progress shown is in fetch.progress."""

    def call(**changes: object) -> str:
        call.progress = Terminal()
        arguments = {
            "url": server.url,
            "table": TABLE,
            "progress": call.progress,
        } | changes
        return fetch_busi(tmp_path / "busi", **arguments)

    return call


def _require_whole(folder: Path) -> None:
    """The folder holds exactly FILES, and nothing is left beside it."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.png")
    }
    assert found == FILES
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_fetched_folder_is_whole_and_progress_tells_bytes_percent_and_time(
    fetch, tmp_path: Path
) -> None:
    assert fetch().endswith("BUSI is here, all 12 files as published")
    _require_whole(tmp_path / "busi")
    last = fetch.progress.getvalue().rstrip().split("\r")[-1]
    assert "of 0.7 MB, 100 %" in last
    assert " s left" in last


def test_second_fetch_says_that_busi_is_here_and_asks_nobody(
    fetch, server: Server
) -> None:
    fetch()
    asked = len(server.asked)
    assert "already here and complete, all 12 files" in fetch()
    assert len(server.asked) == asked


def test_fetch_fills_an_empty_folder(fetch, tmp_path: Path) -> None:
    (tmp_path / "busi").mkdir()
    fetch()
    _require_whole(tmp_path / "busi")


def test_broken_connections_are_resumed_until_all_is_there(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.break_at = 300_000
    fetch()
    _require_whole(tmp_path / "busi")
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_fetch_goes_on_where_an_earlier_one_gave_up(
    fetch, server: Server, tmp_path: Path, monkeypatch
) -> None:
    server.break_at = 100_000
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(DownloadError) as raised:
        fetch()
    assert "the connection broke off after 100000 of" in str(raised.value)
    assert (
        "; run the same command again to go on from 0.1 MB, or download it in a browser"
        in str(raised.value)
    )
    assert not (tmp_path / "busi").exists()
    server.break_at = None
    fetch()
    assert server.asked == [None, "bytes=100000-"]
    _require_whole(tmp_path / "busi")


def _leave_part(folder: Path, content: bytes, tag: str | None) -> None:
    (folder / "busi.zip.part").write_bytes(content)
    if tag:
        (folder / "busi.zip.part.tag").write_text(tag)


@pytest.mark.parametrize("tag", ['"one"', None])
def test_part_of_the_same_file_is_resumed(
    fetch, server: Server, tmp_path: Path, tag: str | None
) -> None:
    server.etag = tag
    _leave_part(tmp_path, server.content[:500_000], tag)
    fetch()
    assert server.asked == ["bytes=500000-"]
    _require_whole(tmp_path / "busi")


def test_part_of_another_file_is_fetched_anew(
    fetch, server: Server, tmp_path: Path
) -> None:
    _leave_part(tmp_path, b"x" * 500_000, '"older"')
    fetch()
    _require_whole(tmp_path / "busi")


def test_server_without_ranges_is_asked_for_all(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    _leave_part(tmp_path, server.content[:500_000], '"one"')
    fetch()
    _require_whole(tmp_path / "busi")


def test_server_that_tells_no_length_is_good_enough(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.lengths = False
    fetch()
    _require_whole(tmp_path / "busi")


def test_whole_part_is_only_unpacked_and_one_too_long_is_fetched_anew(
    fetch, server: Server, tmp_path: Path
) -> None:
    _leave_part(tmp_path, server.content, '"one"')
    fetch()
    _require_whole(tmp_path / "busi")
    (tmp_path / "busi").rename(tmp_path / "first")
    _leave_part(tmp_path, server.content + b"more", '"one"')
    fetch()
    assert (tmp_path / "busi" / "normal" / "normal (2).png").read_bytes() == FILES[
        "normal/normal (2).png"
    ]
    assert server.asked[-1] is None


def test_killed_fetch_leaves_no_folder_and_is_resumed(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.pause = 0.02
    script = f"from sonoseg.data.fetch import fetch_busi; fetch_busi({str(tmp_path / 'busi')!r}, {server.url!r})"
    running = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL
    )
    part, began = tmp_path / "busi.zip.part", time.monotonic()
    while not (part.exists() and part.stat().st_size) and time.monotonic() - began < 60:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    reached = part.stat().st_size
    assert 0 < reached < len(server.content)
    assert not (tmp_path / "busi").exists()
    server.pause = 0.0
    fetch()
    assert server.asked == [None, f"bytes={reached}-"]
    _require_whole(tmp_path / "busi")


def test_kill_while_unpacking_is_made_good(
    fetch, server: Server, tmp_path: Path
) -> None:
    _leave_part(tmp_path, server.content, '"one"')
    (tmp_path / ".busi.unpacking" / "benign").mkdir(parents=True)
    (tmp_path / ".busi.unpacking" / "benign" / "old.png").write_bytes(b"x")
    fetch()
    _require_whole(tmp_path / "busi")


def test_file_with_a_wrong_hash_is_refused_and_the_download_thrown_away(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.content = _zip(
        FILES | {"normal/normal (1).png": b"other", "benign/benign (2).png": b"other"}
    )
    with pytest.raises(
        InputError,
        match=r"benign/benign \(2\)\.png in it is not as published; download it again",
    ):
        fetch()
    assert list(tmp_path.iterdir()) == []


def test_missing_files_and_no_zip_are_refused(
    fetch, server: Server, tmp_path: Path
) -> None:
    server.content = _zip(
        {name: content for name, content in FILES.items() if "normal" not in name}
    )
    with pytest.raises(
        InputError,
        match=r"lacks 4 of the 12 files of BUSI, first normal/normal \(1\)\.png",
    ):
        fetch()
    server.content = b"<html>moved</html>"
    with pytest.raises(InputError, match="is not a zip file or is damaged"):
        fetch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.zip", "http://no-such-host.invalid/x.zip", "nonsense"]
)
def test_without_a_network_one_line_says_what_to_do_by_hand(
    fetch, tmp_path: Path, url: str
) -> None:
    with pytest.raises(DownloadError) as raised:
        fetch(url=url)
    why, what = str(raised.value).split("; ")
    assert why.startswith(f"{url}: cannot be downloaded (")
    assert what.startswith(
        "download it in a browser, then run: sonoseg data fetch busi "
    )
    command = what.partition("run: sonoseg ")[2]
    options = tyro.cli(
        cli.Command,
        args=shlex.split(command),
        config=(OmitSubcommandPrefixes, OmitArgPrefixes),
    )
    assert options == cli.Data(
        cli.Fetch("busi", tmp_path / "busi", Path("Dataset_BUSI.zip"))
    )
    assert list(tmp_path.iterdir()) == []


def test_page_that_is_gone_is_told_by_its_status(
    fetch, server: Server, monkeypatch
) -> None:
    monkeypatch.setattr(_Handler, "do_GET", lambda handler: handler.send_error(404))
    with pytest.raises(DownloadError, match="Not Found"):
        fetch()


def test_archive_downloaded_by_hand_is_checked_unpacked_and_kept(
    fetch, server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "by_hand.zip"
    archive.write_bytes(_zip(FILES, top=""))
    fetch(archive=archive)
    assert archive.exists()
    assert server.asked == []
    archive.unlink()
    _require_whole(tmp_path / "busi")


@pytest.mark.parametrize("damage", ["cut", "bytes", "text", "missing"])
def test_bad_archive_is_refused_and_nothing_left(
    fetch, tmp_path: Path, damage: str
) -> None:
    archive, content = tmp_path / "by_hand.zip", Server.content
    if damage != "missing":
        spoilt = content[:5000] + b"\0" * 50 + content[5050:]
        archive.write_bytes(
            {"cut": content[:-500], "bytes": spoilt, "text": b"no zip"}[damage]
        )
    with pytest.raises(InputError, match=r"by_hand\.zip: "):
        fetch(archive=archive)
    assert [path.name for path in tmp_path.iterdir()] == [
        "by_hand.zip"
    ] * archive.exists()


def test_archive_writes_no_file_that_is_not_busis(fetch, tmp_path: Path) -> None:
    archive = tmp_path / "in" / "evil.zip"
    archive.parent.mkdir()
    evil = {
        "../../evil.png": b"x",
        "/absolute/evil.png": b"x",
        "benign/more.png": b"x",
        "__MACOSX/a.png": b"x",
    }
    archive.write_bytes(_zip(FILES, "../../../") + b"")
    with zipfile.ZipFile(archive, "a") as added:
        for name, content in evil.items():
            added.writestr(name, content)
    fetch(archive=archive)
    found = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert found == {"in/evil.zip", *(f"busi/{name}" for name in FILES)}


def _with_one(
    path: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED
) -> None:
    """The archive of FILES, with other content in one of them."""
    with zipfile.ZipFile(path, "w") as archive:
        for other, whole in FILES.items():
            archive.writestr(
                other,
                content if other == name else whole,
                method if other == name else None,
            )


def test_archive_with_a_file_far_too_large_is_refused_before_unpacking(
    fetch, tmp_path: Path
) -> None:
    _with_one(tmp_path / "bomb.zip", "normal/normal (2).png", b"\0" * (101 << 20))
    with pytest.raises(InputError, match=r"normal \(2\)\.png in it is far too large"):
        fetch(archive=tmp_path / "bomb.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_nothing_that_is_not_as_published_is_ever_written(
    fetch, tmp_path: Path, monkeypatch
) -> None:
    written = []
    monkeypatch.setattr(
        Path, "write_bytes", lambda path, content: written.append(path.name)
    )
    (tmp_path / "bomb.zip").touch()
    _with_one(tmp_path / "bomb.zip", "malignant/malignant (1).png", b"\0" * (7 << 20))
    with pytest.raises(
        InputError, match=r"malignant \(1\)\.png in it is not as published"
    ):
        fetch(archive=tmp_path / "bomb.zip")
    assert written == [Path(name).name for name in FILES if name.startswith("benign")]


def _understate(content: bytearray) -> None:
    """Says of every entry that it has 60,000 bytes."""
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.find(mark)
        while at >= 0:
            content[at + place : at + place + 4] = (60_000).to_bytes(4, "little")
            at = content.find(mark, at + 4)


def test_archive_that_lies_about_a_size_unpacks_no_more_than_it_says(
    fetch, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.zip"
    _with_one(path, "benign/benign (1).png", b"\0" * (200 << 20))
    content = bytearray(path.read_bytes())
    _understate(content)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(
            InputError, match=r"is not as published|is not a zip file or is damaged"
        ):
            fetch(archive=path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_archive_with_an_endless_list_of_contents_is_refused_in_little_memory(
    fetch, tmp_path: Path
) -> None:
    path, entry = tmp_path / "many.zip", b"PK\x01\x02" + bytes(42)
    count = 300_000
    with path.open("wb") as file:
        for _ in range(count):
            file.write(entry)
        size = count * len(entry)
        file.write(
            b"PK\x05\x06"
            + bytes(4)
            + b"\xff" * 4
            + size.to_bytes(4, "little")
            + bytes(4)
            + bytes(2)
        )
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="its list of contents is far too long"):
            fetch(archive=path)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_archive_packed_by_another_method_is_refused_by_name(
    fetch, tmp_path: Path, method: int
) -> None:
    name = "benign/benign (2).png"
    _with_one(tmp_path / "a.zip", name, FILES[name], method)
    with pytest.raises(
        InputError, match=r"benign \(2\)\.png in it is packed by another method"
    ):
        fetch(archive=tmp_path / "a.zip")


def _set_flag(content: bytearray, flag: int) -> None:
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark) + place
        word = int.from_bytes(content[at : at + 2], "little") | flag
        content[at : at + 2] = word.to_bytes(2, "little")


def _not_utf8(content: bytearray) -> None:
    _set_flag(content, 0x800)
    content[content.index(b"PK\x01\x02") + 46] = 0xFF


DAMAGE = {
    "password": (lambda content: _set_flag(content, 1), "needs a password"),
    "name that is not UTF-8": (_not_utf8, "is not a zip file or is damaged"),
    "no local header": (
        lambda content: content.__setitem__(slice(0, 4), b"XXXX"),
        "is not a zip file or is damaged",
    ),
    "offset out of the file": (
        lambda content: content.__setitem__(slice(-6, -2), b"\xff\xff\xff\x7f"),
        "is not a zip file or is damaged",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_odd_archives_are_refused_in_one_line(fetch, tmp_path: Path, kind: str) -> None:
    damage, problem = DAMAGE[kind]
    content = bytearray(_zip(FILES))
    damage(content)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=problem) as raised:
        fetch(archive=tmp_path / "a.zip")
    assert str(raised.value).startswith(f"{tmp_path / 'a.zip'}: ")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_any_altered_byte_leaves_busi_or_one_error(fetch, tmp_path: Path) -> None:
    random, whole = (
        np.random.default_rng(1),
        _zip({name: content[:200] for name, content in FILES.items()}),
    )
    table = {
        name: hashlib.sha256(content[:200]).hexdigest()
        for name, content in FILES.items()
    }
    for _ in range(150):
        content = bytearray(whole)
        for place in random.integers(0, len(content), 6):
            content[place] = random.integers(0, 256)
        (tmp_path / "a.zip").write_bytes(content)
        try:
            fetch(archive=tmp_path / "a.zip", table=table)
        except InputError as error:
            assert str(error).startswith(f"{tmp_path / 'a.zip'}: ")
            assert not (tmp_path / "busi").exists()
        else:
            shutil.rmtree(tmp_path / "busi")


def test_archive_whose_names_have_backslashes_is_good(fetch, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr("Dataset\\" + name.replace("/", "\\"), content)
    assert "all 12 files as published" in fetch(archive=tmp_path / "a.zip")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_an_archive_that_is_no_file_is_refused_at_once(
    fetch, tmp_path: Path, kind: str
) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "a.zip"
    {"pipe": os.mkfifo, "folder": Path.mkdir}.get(kind, str)(path)
    with pytest.raises(InputError, match=r"is not a regular file|is a folder"):
        fetch(archive=path)


def test_a_pipe_among_the_files_is_not_waited_for(fetch, tmp_path: Path) -> None:
    fetch()
    path = tmp_path / "busi" / "normal" / "normal (1).png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(
        InputError,
        match=r"1 of BUSI's 12 files are missing or not as published, first normal",
    ):
        fetch()


@pytest.mark.parametrize("lengths", [True, False])
def test_a_download_without_end_is_broken_off_and_thrown_away(
    fetch, server: Server, tmp_path: Path, lengths: bool, monkeypatch
) -> None:
    server.lengths = lengths
    monkeypatch.setattr(download, "LARGEST", 400_000)
    with pytest.raises(InputError, match=r"busi\.zip\.part: the download is over"):
        fetch()
    assert list(tmp_path.iterdir()) == []


def test_folder_with_something_else_in_it_is_left_alone(
    fetch, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "busi" / "benign").mkdir(parents=True)
    (tmp_path / "busi" / "benign" / "benign (1).png").write_bytes(b"mine")
    with pytest.raises(
        InputError, match="12 of BUSI's 12 files are missing or not as published, first"
    ):
        fetch()
    assert (tmp_path / "busi" / "benign" / "benign (1).png").read_bytes() == b"mine"
    assert server.asked == []


def test_file_or_unwritable_parent_in_place_of_the_folder_is_refused(
    fetch, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "busi").write_text("x")
    with pytest.raises(InputError, match="busi: is a file, not a folder"):
        fetch()
    with pytest.raises(InputError, match="choose another folder"):
        fetch_busi(
            tmp_path / "busi" / "below", server.url, table=TABLE, progress=io.StringIO()
        )
    assert server.asked == []


@pytest.mark.parametrize("length", [248, 300, 5000])
def test_a_name_that_is_too_long_is_told_as_such(
    server: Server, tmp_path: Path, length: int
) -> None:
    with pytest.raises(
        InputError,
        match="the file name is too long for this disk; choose a shorter name",
    ):
        fetch_busi(
            tmp_path / ("x" * length), server.url, table=TABLE, progress=io.StringIO()
        )
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_device_in_place_of_the_folder_is_refused(server: Server) -> None:
    with pytest.raises(InputError, match="/dev/null: is a file, not a folder"):
        fetch_busi("/dev/null", server.url, table=TABLE, progress=io.StringIO())


def test_full_disk_is_the_disks_fault_and_not_the_networks(fetch, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="the disk is full; free some space"):
        fetch()


def test_default_table_is_busis_own(real_data: Path, tmp_path: Path) -> None:
    sums = (real_data / "busi_sha256sums.txt").read_text().splitlines()
    assert {file.path: file.sha256 for file in busi_files()} == {
        line[68:]: line[:64] for line in sums
    }
    sample = {
        path: real_data / "busi_original_sample" / path
        for path in (f.path for f in busi_files())
    }
    table = {f.path: f.sha256 for f in busi_files() if sample[f.path].exists()}
    assert len(table) == 31
    archive = tmp_path / "sample.zip"
    archive.write_bytes(_zip({path: sample[path].read_bytes() for path in table}))
    fetch_busi(tmp_path / "busi", BUSI_URL, archive=archive, table=table)
    with pytest.raises(InputError, match="lacks 1547 of the 1578 files"):
        fetch_busi(tmp_path / "whole", archive=archive)
