"""Videos are read as PyAV reads them, written as they were meant, and whatever is no video gives one clear error."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from sonoseg.errors import InputError
from sonoseg.reader import video
from sonoseg.reader import video_writer as writing
from sonoseg.reader.video import Clip, check_av
from sonoseg.reader.video_writer import video_writer

MakeClip = Callable[..., Path]
Loop = list[NDArray[np.uint8]]


def _read(path: Path) -> tuple[Clip, list[video.Frame]]:
    with closing(Clip(path)) as clip:
        return clip, list(clip.frames())


def _blocks(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means over 10 × 10 pixels, in which the noise that a codec leaves out is small."""
    return image.reshape(30, 10, 42, 10).mean((1, 3))


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mov", "A.MP4"])
def test_frames_rate_and_times_are_those_of_the_file(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, name: str
) -> None:
    clip, frames = _read(make_clip(tmp_path / name, loop, rate=20))
    assert clip.rate == 20
    assert [frame.ticks * clip.time_base for frame in frames] == [
        Fraction(number, 20) for number in range(12)
    ]
    for frame, expected in zip(frames, loop, strict=True):
        assert (frame.image.dtype, frame.image.shape) == (np.uint8, expected.shape)
        assert np.abs(_blocks(frame.image) - _blocks(expected)).max() < 8


def test_lossless_frames_come_back_to_the_bit(
    tmp_path: Path, make_clip: MakeClip, loop: Loop
) -> None:
    _, frames = _read(make_clip(tmp_path / "a.mkv", loop, codec="ffv1"))
    for frame, expected in zip(frames, loop, strict=True):
        np.testing.assert_array_equal(frame.image, expected)


def test_frames_at_uneven_times_keep_them(
    tmp_path: Path, make_clip: MakeClip, loop: Loop
) -> None:
    ticks = [0, 40, 50, 130, 140, 150, 400, 410, 900, 910, 920, 930]
    clip, frames = _read(make_clip(tmp_path / "a.mkv", loop, ticks=ticks))
    assert [
        float(frame.ticks * clip.time_base) * 1000 for frame in frames
    ] == pytest.approx(ticks)


def test_times_that_do_not_rise_are_taken_from_the_rate(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Clip._decoded

    def without_times(self: Clip) -> Any:
        for number, frame in enumerate(decoded(self)):
            frame.pts = (None, 0, 0)[number % 3]
            yield frame

    monkeypatch.setattr(Clip, "_decoded", without_times)
    clip, frames = _read(make_clip(tmp_path / "a.mp4", loop))
    assert [frame.ticks * clip.time_base for frame in frames] == [
        Fraction(number, 25) for number in range(12)
    ]


def test_a_clip_that_was_filmed_sideways_is_turned_upright(
    tmp_path: Path, make_clip: MakeClip, loop: Loop
) -> None:
    path = make_clip(tmp_path / "a.mp4", loop)
    plain = _read(path)[1][0].image
    content = path.read_bytes()
    one, zero, minus, end = (
        value.to_bytes(4, "big", signed=True)
        for value in (1 << 16, 0, -(1 << 16), 1 << 30)
    )
    as_is = one + zero * 3 + one + zero * 3 + end
    quarter = zero + one + zero + minus + zero * 4 + end
    header, track, *_ = (
        place for place in range(len(content)) if content.startswith(as_is, place)
    )
    assert header < track
    path.write_bytes(content[:track] + quarter + content[track + 36 :])
    turned = _read(path)[1][0].image
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


@pytest.mark.parametrize("aspect", [Fraction(16, 15), Fraction(2), Fraction(10, 11)])
def test_frames_have_square_pixels(
    tmp_path: Path, make_clip: MakeClip, aspect: Fraction
) -> None:
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - 60) ** 2 + ((columns - 80) * float(aspect)) ** 2 < 40**2
    picture = np.where(disc, 200, 50).astype(np.uint8)
    _, frames = _read(make_clip(tmp_path / "a.mp4", [picture] * 3, aspect=aspect))
    seen = frames[0].image > 125
    high, wide = (
        np.ptp(np.flatnonzero(seen.any(1))) + 1,
        np.ptp(np.flatnonzero(seen.any(0))) + 1,
    )
    assert abs(high / wide - 1) < 0.03
    assert frames[0].image.shape == (
        round(120 / min(aspect, 1)),
        round(160 * max(aspect, 1)),
    )


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_a_clip_whose_sound_goes_on_longer_is_read(
    tmp_path: Path, loop: Loop, name: str
) -> None:
    codecs = {"a.mkv": ("libx264", "aac"), "a.webm": ("libvpx-vp9", "libopus")}
    with av.open(str(tmp_path / name), "w") as file:
        pictures, sound = (
            file.add_stream(codecs[name][0], rate=25),
            file.add_stream(codecs[name][1], rate=48000),
        )
        assert isinstance(pictures, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        pictures.height, pictures.width, pictures.pix_fmt, sound.layout = (
            300,
            420,
            "yuv420p",
            "stereo",
        )
        for image in loop:
            file.mux(
                pictures.encode(
                    av.VideoFrame.from_ndarray(image, "gray").reformat(format="yuv420p")
                )
            )
        file.mux(pictures.encode(None))
        for number in range(60):
            part = av.AudioFrame.from_ndarray(
                np.zeros((2, 2048), np.float32), "fltp", "stereo"
            )
            part.rate, part.pts = 48000, number * 2048
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    assert len(_read(tmp_path / name)[1]) == 12


def _audio_only(path: Path, _: MakeClip, __: Loop) -> None:
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), "fltp", "mono"
        )
        frame.rate = 8000
        file.mux([*stream.encode(frame), *stream.encode(None)])


def _no_frames(path: Path, make_clip: MakeClip, loop: Loop) -> None:
    content = make_clip(path, loop[:1]).read_bytes()
    start = content.index(b"mdat") + 4
    path.write_bytes(
        content[:start]
        + bytes(content.index(b"moov") - 4 - start)
        + content[content.index(b"moov") - 4 :]
    )


def _cut(share: float, **options: Any) -> Callable[[Path, MakeClip, Loop], None]:
    def make(path: Path, make_clip: MakeClip, loop: Loop) -> None:
        whole = make_clip(
            path.with_suffix(options.get("suffix", ".mp4")), loop * 3, **options
        ).read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return make


BAD: dict[str, tuple[Callable[[Path, MakeClip, Loop], Any], str]] = {
    "text": (
        lambda path, *_: path.write_text("no video\n" * 99),
        "not a video that can be read but text",
    ),
    "empty": (lambda path, *_: path.write_bytes(b""), "is an empty file"),
    "noise": (
        lambda path, *_: path.write_bytes(np.random.default_rng(0).bytes(9999)),
        "not a video that can be read",
    ),
    "missing": (lambda path, *_: None, "no such file"),
    "folder": (lambda path, *_: path.mkdir(), "is a folder"),
    "sound": (_audio_only, "has no pictures in it"),
    "no frames": (_no_frames, "has no frame in it|damaged or cut short after 0 frames"),
    "head cut off": (_cut(0.5), "not a video that can be read"),
    "cut short": (
        _cut(0.7, container={"movflags": "faststart"}),
        "is damaged or cut short after",
    ),
    "cut short AVI": (_cut(0.7, suffix=".avi"), "is damaged or cut short after [1-9]"),
    "cut short MKV": (_cut(0.7, suffix=".mkv"), "is damaged or cut short after [1-9]"),
    "cut short WebM": (
        _cut(0.7, suffix=".webm", codec="libvpx-vp9"),
        "is damaged or cut short after [1-9]",
    ),
    "cut short WMV": (
        _cut(0.7, suffix=".wmv", codec="wmv2"),
        "is damaged or cut short after [1-9]",
    ),
    "needle pixels": (
        lambda path, make, loop: make(path, loop, aspect=Fraction(1, 99)),
        "says that its pixels are 1 wide and 99 high",
    ),
    "tiny": (
        lambda path, make, _: make(path, [np.zeros((8, 40), np.uint8)] * 3),
        "40 × 8 pixels, too small",
    ),
    "huge": (
        lambda path, make, _: make(
            path, [np.zeros((4200, 4200), np.uint8)], codec="mpeg4"
        ),
        r"over 16 megapixels \(4200 × 4200",
    ),
}


@pytest.mark.parametrize("kind", [kind for kind in BAD if "cut short" in kind])
def test_of_a_clip_that_is_cut_short_more_frames_are_counted_than_can_be_read(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, kind: str
) -> None:
    path = tmp_path / "a.mp4"
    BAD[kind][0](path, make_clip, loop)
    read = 0
    with closing(Clip(path)) as clip, pytest.raises(InputError):
        for _ in clip.frames():
            read += 1
    with closing(Clip(path)) as clip:
        assert clip.count_frames() > read


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_video_is_told_in_one_line(
    tmp_path: Path,
    make_clip: MakeClip,
    loop: Loop,
    kind: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make, problem = BAD[kind]
    path = tmp_path / "clip.mp4"
    make(path, make_clip, loop)
    capfd.readouterr()
    with pytest.raises(InputError, match=problem) as error:
        _read(path)
    assert error.value.subject == str(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile {clip}\n",
    "concat, spaces first": "ffconcat version 1.0 \r\nfile '{clip}'\r\nfile '{clip}'\r\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "HLS, another file": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n",
    "DASH": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="1" bandwidth="1000"'
        ' mimeType="video/mp4" codecs="avc1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "PLS": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    "ASX": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "RTSP text": "RTSPtextrtsp://127.0.0.1/x",
    "accents": "ffconcat version 1.0\n# über\nfile {clip}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["scan.mp4", "scan.avi", "scan.mkv", "scan.mpg"])
def test_a_playlist_under_a_clips_name_reads_nothing_else(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, kind: str, name: str
) -> None:
    make_clip(tmp_path / "other.mp4", loop[:2])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.mp4"
        path = tmp_path / name
        path.write_text(
            PLAYLISTS[kind].format(clip="other.mp4", url=url), encoding="utf-8"
        )
        with pytest.raises(
            InputError,
            match="not a video that can be read but text, such as a playlist; give the",
        ):
            _read(path)
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()


NAMES = (
    "10:30.mp4",
    "pipe:0.mp4",
    "concat:a|b.mp4",
    "%03d.mp4",
    "a\nb.mp4",
    "\x1b[31m.mp4",
    "file:x.mp4",
    "-.mp4",
    "\udcff.mp4",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_taken_for_an_address(
    tmp_path: Path,
    make_clip: MakeClip,
    loop: Loop,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_clip(tmp_path / "a.mp4", loop[:3]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    expected = _read(Path(name))[1]
    with video_writer(Path(f"x{name}"), Fraction(25), Fraction(1, 25)) as writer:
        for number in range(3):
            writer.write(np.full((32, 32, 3), 90 * number, np.uint8), number)
    written = _read(Path(f"x{name}"))[1]
    assert len(expected) == 3
    assert [round(frame.image.mean() / 90) for frame in written] == [0, 1, 2]


def test_a_folder_named_like_an_address_makes_no_request(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        folder = Path(f"http:/127.0.0.1:{server.getsockname()[1]}")
        (tmp_path / folder).mkdir(parents=True)
        make_clip(tmp_path / "a.mp4", loop[:3]).rename(tmp_path / folder / "a.mp4")
        monkeypatch.chdir(tmp_path)
        assert len(_read(folder / "a.mp4")[1]) == 3
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("said", [True, False])
def test_too_many_frames_are_refused_whatever_the_file_says(
    tmp_path: Path,
    make_clip: MakeClip,
    loop: Loop,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make_clip(tmp_path / ("a.mp4" if said else "a.mkv"), loop)
    monkeypatch.setattr(video, "MAX_FRAMES", 12)
    assert len(_read(path)[1]) == 12
    monkeypatch.setattr(video, "MAX_FRAMES", 11)
    with pytest.raises(
        InputError, match="has over 11 frames; cut it into shorter clips"
    ):
        _read(path)


def test_a_clip_of_days_is_refused_and_one_of_hours_is_read(
    tmp_path: Path, make_clip: MakeClip, loop: Loop
) -> None:
    hour = 3600 * 1000
    _, frames = _read(make_clip(tmp_path / "a.mkv", loop[:3], ticks=[0, 40, 2 * hour]))
    assert [frame.ticks for frame in frames] == [0, 40, 2 * hour]
    with pytest.raises(InputError, match="lasts over 24 hours"):
        _read(make_clip(tmp_path / "b.mkv", loop[:3], ticks=[0, 40, 30 * hour]))


def test_frames_that_become_huge_on_the_way_are_refused(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_clip(
        tmp_path / "a.m2v", [frame[:64, :64] for frame in loop[:3]], codec="mpeg2video"
    ).read_bytes()
    large = make_clip(
        tmp_path / "b.m2v",
        [frame[:288, :416] for frame in loop[:3]],
        codec="mpeg2video",
    ).read_bytes()
    (tmp_path / "c.mpg").write_bytes(small + large)
    monkeypatch.setattr(video, "MAX_FRAME_PIXELS", 64 * 64)
    with pytest.raises(InputError, match=r"is damaged or cut short|change their size"):
        _read(tmp_path / "c.mpg")


def test_any_altered_byte_leaves_a_video_or_one_error(
    tmp_path: Path, make_clip: MakeClip, loop: Loop
) -> None:
    small = [frame[100:164, 100:164] for frame in loop]
    random, path = np.random.default_rng(0), tmp_path / "a.mp4"
    for name in ("b.mp4", "b.avi", "b.mkv"):
        whole = make_clip(tmp_path / name, small).read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            for place in random.integers(0, len(content), 4):
                content[place] = random.integers(0, 256)
            path.write_bytes(content)
            try:
                frames = _read(path)[1]
            except InputError as error:
                assert error.subject == str(path)
            else:
                assert frames


def test_frames_that_change_their_size_are_refused(
    tmp_path: Path, make_clip: MakeClip, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Clip._decoded

    def two_sizes(self: Clip) -> Any:
        yield from decoded(self)
        yield av.VideoFrame(64, 64, "gray")

    monkeypatch.setattr(Clip, "_decoded", two_sizes)
    with pytest.raises(InputError, match="change their size after 12"):
        _read(make_clip(tmp_path / "a.mp4", loop))


def test_without_pyav_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_av(Path("clip.mp4"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        InputError,
        match=r"clip\.mp4: a video needs PyAV to be read; pip install '\.\[video\]'",
    ):
        check_av(Path("clip.mp4"))


@pytest.mark.parametrize("codecs", [writing.CODECS, writing.CODECS[1:]])
@pytest.mark.parametrize("shape", [(48, 64), (49, 67)])
def test_what_is_written_is_read_back_by_pyav(
    tmp_path: Path,
    shape: tuple[int, int],
    codecs: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "CODECS", codecs)
    pictures = [np.full((*shape, 3), 20 * number, np.uint8) for number in range(10)]
    ticks = [0, 1, 2, 3, 10, 11, 12, 13, 14, 20]
    with video_writer(tmp_path / "a.mp4", Fraction(25), Fraction(1, 25)) as writer:
        for picture, tick in zip(pictures, ticks, strict=True):
            writer.write(picture, tick)
    with av.open(str(tmp_path / "a.mp4")) as file:
        frames = list(file.decode(video=0))
    assert (frames[0].height, frames[0].width) == (
        48 + 2 * (shape[0] % 2),
        64 + 4 * (shape[1] % 2),
    )
    assert [frame.time for frame in frames] == pytest.approx(
        [tick / 25 for tick in ticks]
    )
    for frame, picture in zip(frames, pictures, strict=True):
        read = frame.to_ndarray(format="rgb24")[: shape[0], : shape[1]]
        assert np.abs(read.astype(int) - picture).mean() < 6


def test_a_disk_that_takes_no_more_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: Any, **__: Any) -> Any:
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(InputError, match=r"a\.mp4: the disk is full"),
        video_writer(tmp_path / "a.mp4", Fraction(25), Fraction(1, 25)) as writer,
    ):
        monkeypatch.setattr(writer, "finish", full)
        writer.write(np.zeros((32, 32, 3), np.uint8), 0)


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no disk that is always full"
)
@pytest.mark.parametrize("count", [3, 100])
def test_a_full_disk_is_an_input_error(tmp_path: Path, count: int) -> None:
    (tmp_path / "a.mp4").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)
    with (
        pytest.raises(InputError, match=r"a\.mp4: the disk is full"),
        video_writer(tmp_path / "a.mp4", Fraction(25), Fraction(1, 25)) as writer,
    ):
        for number, picture in enumerate(noise):
            writer.write(picture, number)
