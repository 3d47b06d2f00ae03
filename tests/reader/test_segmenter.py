"""From picture to lesions with a network that finds dark blobs, and the public API around it."""

from __future__ import annotations

import io
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

import sonoseg
from sonoseg.core.image import Image as ImageRecord
from sonoseg.core.image import read_image
from sonoseg.core.measure import find_lesions
from sonoseg.data.phantom import make_phantom
from sonoseg.describe.lesion import describe_lesions
from sonoseg.errors import InputError
from sonoseg.reader.answers import Answers
from sonoseg.reader.bundle import Bundle
from sonoseg.reader.checksum import add_checksum
from sonoseg.reader.segmenter import Segmenter, load

Scan = NDArray[np.uint8]


@pytest.fixture(scope="module")
def segmenter(bundle: Path) -> Segmenter:
    return Segmenter(Bundle.read(bundle))


def test_dark_ellipses_are_found_where_they_are(
    segmenter: Segmenter, scan: Scan
) -> None:
    result = segmenter.segment(scan)
    assert (
        result.image.shape
        == result.mask.shape
        == result.probability.shape
        == scan.shape
    )
    assert (result.image.dtype, result.mask.dtype, result.probability.dtype) == (
        np.uint8,
        np.bool_,
        np.float32,
    )
    assert (result.model, result.spacing) == ("dark-blobs", None)
    large, small = result.lesions
    assert large.centre == pytest.approx((170.5, 130.5), abs=2)
    assert large.longest.length == pytest.approx(141, rel=0.1)
    assert large.across.length == pytest.approx(81, rel=0.1)
    assert small.centre == pytest.approx((355.5, 220.5), abs=2)
    assert large.probability > 0.9


def test_mask_and_lesions_follow_from_the_probability_and_the_card(
    segmenter: Segmenter, scan: Scan
) -> None:
    result = segmenter.segment(scan)
    assert (result.probability >= 0).all()
    assert (result.probability <= 1).all()
    np.testing.assert_array_equal(
        result.mask, result.probability >= segmenter.card.threshold
    )
    assert sum(lesion.area for lesion in result.lesions) == result.mask.sum()
    found = find_lesions(result.mask, result.probability)
    assert result.lesions == describe_lesions(found, scan, result.mask)
    small = segmenter.probability([scan])
    assert small.shape == (1, *segmenter.card.size)
    picture = Image.fromarray(small[0]).resize(
        scan.shape[::-1], Image.Resampling.BILINEAR
    )
    np.testing.assert_allclose(result.probability, np.asarray(picture), atol=1e-6)


def test_parts_under_the_cards_fraction_are_dropped(bundle: Path, scan: Scan) -> None:
    opened = Bundle.read(bundle)
    share = (
        np.array([lesion.area for lesion in Segmenter(opened).segment(scan).lesions])
        / scan.size
    )
    for fraction, expected in (
        (share.min() * 0.99, 2),
        (share.min() * 1.01, 1),
        (share.max() * 1.01, 0),
    ):
        strict = replace(
            opened, card=replace(opened.card, min_lesion_fraction=float(fraction))
        )
        result = Segmenter(strict).segment(scan)
        assert len(result.lesions) == expected
        assert result.mask.any() == (expected > 0)


def test_a_batch_gives_what_single_images_give(
    segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    Image.fromarray(scan[::2, ::3]).save(tmp_path / "a.png")
    images = [
        scan,
        tmp_path / "a.png",
        scan[:100, :130].astype(np.float32),
        str(tmp_path / "a.png"),
    ]
    for one, many in zip(
        map(segmenter.segment, images), segmenter.segment_batch(images), strict=True
    ):
        np.testing.assert_allclose(one.probability, many.probability, atol=1e-5)
        np.testing.assert_array_equal(one.image, many.image)
        assert one.mask.shape == many.mask.shape
    assert segmenter.segment_batch([]) == []


def test_one_image_is_not_taken_for_a_batch(
    segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scan).save(path)
    content = path.read_bytes()
    colour = np.stack([scan] * 3, axis=2)
    pictures = [Image.fromarray(scan), Image.open(path), read_image(scan)]
    files = [str(path), path, content, bytearray(content), io.BytesIO(content)]
    for one in (*pictures, *files, scan, colour, np.array(1), None):
        with pytest.raises(InputError, match=r"^images: .* is not a list of images; "):
            segmenter.segment_batch(one)  # type: ignore[arg-type]
    several: list[Any] = [(scan, path), iter([scan, scan]), np.array([path, path])]
    several += [np.stack([scan, scan]), np.stack([colour, colour])]
    for images in several:
        assert len(segmenter.segment_batch(images)) == 2


def test_a_bad_image_of_a_batch_is_called_by_its_name_or_its_place(
    segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    bad = [np.zeros((3, 3, 3, 3)), b"no picture", scan[:3], path]
    for image in bad:
        name = str(path) if image is path else "image 3 of 4"
        with pytest.raises(InputError) as error:
            segmenter.segment_batch([scan, scan, image, scan])
        assert error.value.subject == name
    with pytest.raises(InputError, match=r"^image: "):
        segmenter.segment(b"no picture")


@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (1200, 40), (96, 112)])
def test_images_of_any_size_are_segmented_at_their_size(
    segmenter: Segmenter, shape: tuple[int, int]
) -> None:
    for level in (0, 255):
        result = segmenter.segment(np.full(shape, level, np.uint8))
        assert result.mask.shape == shape
        assert result.mask.all() == (level == 0)
        assert len(result.lesions) == (level == 0)


def test_the_same_picture_in_any_form_gives_the_same_mask(
    segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    expected = segmenter.segment(scan).mask
    picture = Image.fromarray(scan)
    picture.convert("RGB").save(tmp_path / "a.bmp")
    picture.save(tmp_path / "a.tif", compression="tiff_lzw")
    Image.fromarray(scan.astype(np.uint16) * 16).save(tmp_path / "a.png")
    np.testing.assert_array_equal(segmenter.segment(tmp_path / "a.bmp").mask, expected)
    np.testing.assert_array_equal(segmenter.segment(tmp_path / "a.tif").mask, expected)
    deep = segmenter.segment(
        tmp_path / "a.png"
    ).mask  # stretched to its own range, so not quite the same
    assert (deep != expected).mean() < 0.01


@pytest.mark.parametrize(
    "spacing", [0, -0.1, float("nan"), float("inf"), True, "0.1", [0.1]]
)
def test_a_spacing_that_is_no_length_is_refused(
    segmenter: Segmenter, scan: Scan, spacing: Any
) -> None:
    with pytest.raises(InputError, match=r"spacing: .* is not a pixel size"):
        segmenter.segment(scan, spacing)


@pytest.mark.parametrize("spacing", [np.float32(0.5), np.float64(0.5), (0.5, 0.5)])
def test_numpy_scalars_are_a_spacing_and_can_be_written_as_json(
    segmenter: Segmenter, scan: Scan, spacing: Any
) -> None:
    result = segmenter.segment(scan, spacing)
    assert json.loads(json.dumps(result.to_dict()))["spacing"]["mm_per_pixel"] == [
        0.5,
        0.5,
    ]


def test_the_spacing_is_that_of_the_image_or_of_the_call(
    segmenter: Segmenter, scan: Scan
) -> None:
    image = ImageRecord(scan, (0.1, 0.2), spacing_source="DICOM")
    own, given = segmenter.segment(image), segmenter.segment(image, (0.3, 0.4))
    assert own.to_dict()["spacing"] == {"mm_per_pixel": [0.1, 0.2], "source": "DICOM"}
    assert given.to_dict()["spacing"] == {
        "mm_per_pixel": [0.3, 0.4],
        "source": "given by the user",
    }
    assert segmenter.segment(read_image(scan, 0.1)).spacing == (0.1, 0.1)


def test_lengths_are_those_of_the_body_where_pixels_are_not_square(
    segmenter: Segmenter, scan: Scan
) -> None:
    """Every second row is as good as all rows, if the spacing says that they are twice as far apart."""
    whole = segmenter.segment(scan, 0.1)
    halved = segmenter.segment(scan[::2], (0.2, 0.1))
    for one, other in zip(whole.lesions, halved.lesions, strict=True):
        assert other.area == pytest.approx(one.area, rel=0.03)
        assert other.longest.length == pytest.approx(one.longest.length, rel=0.03)
        assert other.across.length == pytest.approx(one.across.length, rel=0.03)
    assert whole.lesions[0].pixels > 1.9 * halved.lesions[0].pixels


def test_every_source_of_an_image_gives_its_mask(
    segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    path = tmp_path / "scan.png"
    picture = Image.fromarray(scan)
    picture.save(path)
    expected = segmenter.segment(scan)
    cmyk, palette = picture.convert("CMYK"), picture.convert("RGB").quantize(256)
    for source in (
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        picture,
        cmyk,
        palette,
        read_image(path),
    ):
        result = segmenter.segment(source)
        np.testing.assert_array_equal(result.image, scan)
        np.testing.assert_array_equal(result.mask, expected.mask)
        np.testing.assert_array_equal(
            segmenter.segment_batch([source])[0].mask, expected.mask
        )


def test_damaged_jpeg_data_is_a_doubt(segmenter: Segmenter, scan: Scan) -> None:
    Image.fromarray(scan).save(buffer := io.BytesIO(), "JPEG")
    data = buffer.getvalue()
    assert segmenter.segment(data).doubts == ()
    middle = len(data) // 2
    damaged = data[:middle] + data[middle - 60 : middle] + data[middle:]
    doubt = "its JPEG data is damaged, parts of the image may be wrong"
    assert segmenter.segment(damaged).doubts == (doubt,)
    assert segmenter.segment(damaged).to_dict()["doubts"] == [doubt]


def test_the_public_api_segments_files_and_arrays(
    bundle: Path, scan: Scan, tmp_path: Path
) -> None:
    Image.fromarray(scan).save(tmp_path / "scan.png")
    from_file = sonoseg.segment(tmp_path / "scan.png", model=bundle, spacing=0.1)
    from_array = sonoseg.segment(scan, model=str(bundle))
    assert isinstance(from_file, sonoseg.SegmentationResult)
    np.testing.assert_array_equal(from_file.mask, from_array.mask)
    assert (from_file.spacing, from_array.spacing) == ((0.1, 0.1), None)
    from_bytes = sonoseg.segment((tmp_path / "scan.png").read_bytes(), model=bundle)
    np.testing.assert_array_equal(from_file.mask, from_bytes.mask)
    with pytest.raises(InputError, match="no such file"):
        sonoseg.segment(tmp_path / "gone.png", model=bundle)


def test_a_loaded_model_is_kept_until_its_file_changes(
    tmp_path: Path, unsealed: Callable[..., bytes], card: dict[str, Any]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(add_checksum(unsealed()))
    first = load(path)
    assert load(str(path)) is first
    assert sonoseg.load(path) is first
    path.write_bytes(add_checksum(unsealed(card | {"name": "another"})))
    assert load(path).card.name == "another"
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match="not a sonoseg bundle"):
        load(path)


def test_a_segmenter_works_in_a_pool_of_processes(
    bundle: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(
        bundle.parent
    )  # a relative path must hold in the other process too
    opened = Bundle.read(bundle.name, threads=1)
    segmenter = Segmenter(replace(opened, card=replace(opened.card, threshold=0.25)))
    images = [scan, scan[:100, :130]]
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        results = list(pool.map(segmenter.segment, images))
    for image, result in zip(images, results, strict=True):
        expected = segmenter.segment(image)
        np.testing.assert_array_equal(result.mask, expected.mask)
        np.testing.assert_array_equal(result.network_map, expected.network_map)
        assert result.lesions == expected.lesions


def test_a_pickled_segmenter_is_small_and_is_read_once(bundle: Path) -> None:
    segmenter = Segmenter(Bundle.read(bundle, threads=1))
    content = pickle.dumps(segmenter)
    assert len(content) < 5000
    first, second = pickle.loads(content), pickle.loads(content)
    assert first.card == segmenter.card
    assert first.sha256 == segmenter.sha256
    assert first._bundle.threads == 1
    assert first._bundle.session is second._bundle.session


def test_a_pickled_segmenter_of_a_file_that_changed_is_refused(
    tmp_path: Path, unsealed: Callable[..., bytes], card: dict[str, Any]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(add_checksum(unsealed()))
    content = pickle.dumps(Segmenter(Bundle.read(path)))
    path.write_bytes(add_checksum(unsealed(card | {"name": "another"})))
    with pytest.raises(
        InputError,
        match=r"model\.onnx: was replaced by another bundle during the work; start again",
    ):
        pickle.loads(content)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        pickle.loads(content)


def test_result_and_explanation_come_from_one_run_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, runs = make_phantom(0)[0], []
    segmenter = sonoseg.load()
    plain, heat = segmenter.segment(image), segmenter.explain(image)
    run = Bundle.run

    def counted(
        self: Bundle, batch: NDArray[np.float32], explain: bool, shift: float
    ) -> Answers:
        runs.append(explain)
        return run(self, batch, explain, shift)

    monkeypatch.setattr(Bundle, "run", counted)
    explained = segmenter.segment(image, explain=True)
    assert runs == [True]
    assert plain.heat is None
    assert explained.heat is not None
    np.testing.assert_array_equal(explained.heat, heat)
    np.testing.assert_array_equal(explained.network_map, plain.network_map)
    np.testing.assert_array_equal(explained.mask, plain.mask)
    assert explained.unfamiliarity == plain.unfamiliarity


@pytest.fixture
def judging(
    tmp_path: Path, unsealed: Callable[..., bytes], card: dict[str, Any]
) -> Callable[..., Path]:
    """Writes a bundle whose presence logit is -1 everywhere, with the given operating points on its card."""

    def write(sensitivity: object, has_input: bool = True) -> Path:
        model = onnx.load_from_string(unsealed(card | {"sensitivity": sensitivity}))
        graph = model.graph
        if has_input:
            del graph.node[-1]
            for name, value in (("presence", -1.0), ("presence_shift", 0.0)):
                constant = numpy_helper.from_array(np.array(value, np.float32), name)
                graph.initializer.append(constant)
            shift = helper.make_tensor_value_info(
                "presence_shift", onnx.TensorProto.FLOAT, []
            )
            graph.input.append(shift)
            graph.node.extend(
                [
                    helper.make_node("Add", ["presence", "presence_shift"], ["there"]),
                    helper.make_node("Min", ["logits", "there"], ["both"]),
                    helper.make_node("Sigmoid", ["both"], ["probability"]),
                ]
            )
        path = tmp_path / "judging.onnx"
        path.write_bytes(add_checksum(model.SerializeToString()))
        return path

    return write


POINTS = {"high": 0.2, "balanced": 0.5, "specific": 0.7}


def test_an_operating_point_keeps_or_drops_lesions_and_leaves_their_outlines(
    judging: Callable[..., Path], bundle: Path, scan: NDArray[np.uint8]
) -> None:
    """The presence is sigmoid(-1) = 0.27: above the cut of high, and below the others."""
    path = judging(POINTS)
    whole = sonoseg.segment(scan, bundle)
    assert whole.mask.any()
    assert not sonoseg.segment(scan, path).mask.any()
    high = sonoseg.segment(scan, path, sensitivity="high")
    np.testing.assert_array_equal(high.network_map >= 0.5, whole.network_map >= 0.5)
    both = (high.mask & whole.mask).sum()
    assert 2 * both / (high.mask.sum() + whole.mask.sum()) > 0.97
    for name in ("balanced", "specific"):
        assert not sonoseg.load(path, name).segment(scan).mask.any()
    again = pickle.loads(pickle.dumps(sonoseg.load(path, "high")))
    assert again.sensitivity == "high"
    np.testing.assert_array_equal(again.segment(scan).mask, high.mask)
    assert sonoseg.load(path).sensitivity is None


def test_heat_of_another_mask_than_the_one_that_is_drawn_is_said(
    judging: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    plain = sonoseg.load(judging(POINTS))
    plain.warn_of_heat()
    plain.at("balanced").warn_of_heat()
    assert not caplog.messages
    stricter = replace(plain.card, threshold=0.7)
    bundle = Bundle.read(plain.path)
    for other in (plain.at("high"), Segmenter(replace(bundle, card=stricter))):
        other.warn_of_heat()
        assert "without operating point" in caplog.messages.pop()
        caplog.clear()


def test_an_operating_point_that_changes_nothing_is_said(
    judging: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = judging(POINTS | {"high": 0.5})
    sonoseg.load(path, "balanced")
    sonoseg.load(path, "specific")
    assert not caplog.messages
    sonoseg.load(path, "high")
    (said,) = caplog.messages
    assert said.endswith("high of dark-blobs is the same as balanced (0.5)")


def test_a_bundle_without_operating_points_refuses_them_by_name(
    judging: Callable[..., Path], bundle: Path
) -> None:
    problem = r"--sensitivity high: the model dark-blobs has no operating points"
    for path in (bundle, judging({})):
        with pytest.raises(InputError, match=problem):
            sonoseg.load(path, "high")
    with pytest.raises(InputError, match="low: there is no such operating point"):
        sonoseg.load(judging(POINTS), "low")


@pytest.mark.parametrize(
    ("points", "has_input", "problem"),
    [
        (POINTS, False, "presence_shift"),
        ({"high": 0.2}, True, "sensitivity"),
        (POINTS | {"high": 0}, True, "sensitivity"),
        (POINTS | {"more": 0.5}, True, "sensitivity"),
        ("high", True, "sensitivity"),
        (None, True, "sensitivity"),
    ],
)
def test_operating_points_that_cannot_be_used_are_refused(
    judging: Callable[..., Path], points: object, has_input: bool, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        Bundle.read(judging(points, has_input))
