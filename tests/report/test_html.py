"""Pages are well-formed, hold everything in themselves, and escape whatever they are given."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.demo import run_demo
from sonoseg.report.html import (
    cards,
    data_uri,
    details,
    facts,
    figure,
    page,
    paragraph,
    section,
    table,
)

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = (
    '<script src="https://evil.example/x.js">$title ${oops} & "quotes" \'apostrophe\''
)
PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


class Reader(HTMLParser):
    """Checks that tags close in order; collects tags with their attributes, and the text outside of <style>."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def assert_self_contained(document: str) -> None:
    """Nothing in the page makes a browser ask for anything else."""
    read = Reader(document)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {
        tag for tag, _ in read.tags
    }
    for _, attributes in read.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "background", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", document)
    policies = [
        meta["content"]
        for meta in read.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's report of four images."""
    folder = tmp_path_factory.mktemp("demo")
    run_demo(folder, 4, "default")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_demo_report_is_well_formed_and_asks_for_nothing(report: str) -> None:
    assert_self_contained(report)


def test_the_demo_report_has_one_heading_a_language_and_the_notice_twice(
    report: str,
) -> None:
    read = Reader(report)
    assert [attributes["lang"] for attributes in read.all("html")] == ["en"]
    assert len(read.all("h1")) == len(read.all("title")) == len(read.all("main")) == 1
    assert read.text.count("Research use, not a medical device.") == 2
    assert [len(read.all("table")), len(read.all("caption"))] == [2, 2]


def test_every_picture_of_the_demo_report_has_words_and_its_size(report: str) -> None:
    images = Reader(report).all("img")
    assert len(images) == 4
    for image in images:
        assert (image["alt"] or "").startswith("Synthetic ultrasound: ")
        content = base64.b64decode((image["src"] or "").partition("base64,")[2])
        size = Image.open(io.BytesIO(content)).size
        assert size == (int(image["width"] or 0), int(image["height"] or 0))


def test_the_demo_report_is_small_enough_to_mail(report: str) -> None:
    assert len(report) < 4 * 150_000


def test_the_report_knows_dark_screens_and_paper(report: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in report
    assert "@media print" in report


def test_whatever_a_page_is_given_is_escaped() -> None:
    body = section(
        HOSTILE,
        paragraph(HOSTILE),
        facts([(HOSTILE, HOSTILE)]),
        details([(HOSTILE, HOSTILE), (HOSTILE, [HOSTILE, HOSTILE])]),
        table([HOSTILE], [[HOSTILE]], HOSTILE),
        cards([figure(PICTURE, HOSTILE, HOSTILE, HOSTILE)]),
    )
    document = page(HOSTILE, HOSTILE, body)
    read = Reader(document)
    assert not read.all("script")
    assert read.text.count(HOSTILE) == 17
    assert read.all("img")[0]["alt"] == read.all("div")[1]["aria-label"] == HOSTILE


def test_a_table_aligns_numbers_and_names_its_columns() -> None:
    markup = table(
        ["image", "Dice", "pixels"], [["a", 0.12345, 12000], ["b", None, 7]], "Scores"
    )
    read = Reader(markup)
    cells = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", markup)
    assert cells == ["image", "Dice", "pixels", "a", "0.123", "12,000", "b", "–", "7"]
    assert [cell.get("class") for cell in read.all("td")] == [
        None,
        "number",
        "number",
    ] * 2
    assert [cell["scope"] for cell in read.all("th")] == ["col"] * 3


def test_a_table_with_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(["image", "Dice"], [["a", 0.5], ["b", 0.5, 3]], "Scores")


@pytest.mark.parametrize("picture", [PICTURE, PICTURE[..., 0]])
def test_a_picture_becomes_a_small_jpeg_that_looks_the_same(
    picture: np.ndarray,
) -> None:  # type: ignore[type-arg]
    smooth = np.asarray(
        Image.fromarray(picture).resize((320, 240), Image.Resampling.BICUBIC)
    )
    kind, _, content = data_uri(smooth).partition(",")
    assert kind == "data:image/jpeg;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert back.shape == smooth.shape
    assert np.abs(back.astype(float) - smooth).mean() < 6
    assert len(content) < smooth.size / 2


def test_the_page_template_is_part_of_the_package() -> None:
    from importlib.resources import files

    template = files("sonoseg.report") / "templates" / "page.html"
    assert template.is_file()
    package = Path(__file__).parents[2] / "pyproject.toml"
    assert "report/templates/*" in package.read_text()


def test_control_characters_are_shown_and_do_not_spoil_a_page() -> None:
    assert (
        paragraph("a\x1b[2J\x00caf\udce9 <b>")
        == "<p>a\\x1b[2J\\x00caf\\udce9 &lt;b&gt;</p>"
    )
