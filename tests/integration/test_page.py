"""The page in a real browser: from opening a folder to a mask on the disk that is the canvas, pixel by pixel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.serve.server import Server

import sonoseg
from sonoseg.core.measure import drop_small
from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import make_phantom
from sonoseg.dicom.read import read_dicom

SEEDS = {"one": 3, "two": 4, "three": 6}
CANVAS = """
const canvas = document.getElementById("overlay");
const { x, y } = canvas.dataset;
const pixels = canvas.getContext("2d").getImageData(Number(x), Number(y), arguments[0], arguments[1]);
const shown = [];
for (let i = 3; i < pixels.data.length; i += 4) shown.push(pixels.data[i] > 127 ? "1" : "0");
return shown.join("");
"""


class Page:
    """The page in a browser, and what a user does to it.

    Attributes:
        driver: the browser, a selenium webdriver.
    """

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        driver.get("about:blank")
        driver.get_log("browser")  # what earlier tests have left
        driver.get(address)
        self.wait(lambda: driver.execute_script("return document.body.dataset.ready"))

    def wait(self, condition: Any) -> Any:
        return WebDriverWait(self.driver, 60, 0.05).until(lambda _: condition())

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def keys(self, *keys: str) -> None:
        """Presses keys while nothing but the page has the focus."""
        self.driver.execute_script("document.activeElement.blur()")
        ActionChains(self.driver).send_keys(*keys).perform()

    def saved(self) -> None:
        """Waits until the server has answered."""
        self.wait(lambda: self.text("#saved") in ("saved", "accepted"))

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Where a pixel of the image lies, counted from the middle of the canvas."""
        canvas = self.find("#overlay")
        left, top, scale = (
            float(canvas.get_dom_attribute(f"data-{name}"))
            for name in ("x", "y", "scale")
        )
        size = canvas.size
        return (
            round(left + (x + 0.5) * scale - size["width"] / 2),
            round(top + (y + 0.5) * scale - size["height"] / 2),
        )

    def click(self, x: float, y: float) -> None:
        actions = ActionChains(self.driver)
        actions.move_to_element_with_offset(
            self.find("#overlay"), *self.place(x, y)
        ).click().perform()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        canvas = self.find("#overlay")
        actions = ActionChains(self.driver)
        actions.move_to_element_with_offset(
            canvas, *self.place(*start)
        ).click_and_hold()
        actions.move_to_element_with_offset(
            canvas, *self.place(*end)
        ).release().perform()

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """The pixels that the canvas shows as lesion, read from the canvas itself."""
        if (
            self.find("#layers button:nth-child(2)").get_dom_attribute("aria-pressed")
            != "true"
        ):
            self.keys("x", "f")
            self.driver.execute_script(
                "const s = document.getElementById('opacity'); s.value = 1; s.dispatchEvent(new Event('input'))"
            )
        self.keys("9")
        self.driver.execute_script("document.activeElement.blur()")
        ActionChains(self.driver).move_to_element(self.find("h1")).perform()
        time.sleep(0.3)  # two frames of a slow machine
        shown = self.driver.execute_script(CANVAS, shape[1], shape[0])
        return np.frombuffer(shown.encode(), np.uint8).reshape(shape) == ord("1")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, seed in SEEDS.items():
        Image.fromarray(make_phantom(seed)[0]).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def server(scans: Path) -> Iterator[Server]:
    server = Server(scans)
    yield server
    server.kill()


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def open_image(page: Page, name: str) -> None:
    page.wait(
        lambda: page.driver.find_elements(
            By.CSS_SELECTOR, f'#list button[title^="{name}"]'
        )
    )
    page.find(f'#list button[title^="{name}"]').click()
    page.wait(lambda: page.text("#caption").startswith(name))


def disk_mask(scans: Path, name: str, reader: str = "reader") -> NDArray[np.bool_]:
    return (
        np.asarray(Image.open(scans / "annotations" / reader / "masks" / f"{name}.png"))
        == 255
    )


def test_from_opening_a_folder_to_the_mask_on_the_disk(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    _, truth = make_phantom(SEEDS["one"])
    open_image(page, "one")
    own = sonoseg.segment(scans / "one.png").mask
    np.testing.assert_array_equal(page.mask(own.shape), own)
    height, width = own.shape
    y, x = np.argwhere(truth).mean(0)

    page.keys("d")
    page.click(x, y)
    page.saved()
    page.wait(lambda: "no lesion" in page.text("#lesions"))
    assert not page.mask(own.shape).any()

    page.keys("g")
    page.click(x, y)
    page.wait(lambda: "px" in page.text("#lesions"))
    page.saved()
    grown = page.mask(own.shape)
    assert dice(grown, truth) > 0.8

    page.keys("e")
    page.drag((x - 60, y), (x + 60, y))
    page.saved()
    erased = page.mask(own.shape)
    assert erased.sum() < grown.sum()
    assert not erased[int(y), int(x)]

    page.keys("z")
    page.saved()
    np.testing.assert_array_equal(page.mask(own.shape), grown)
    page.keys("b")
    page.drag((20, 20), (60, 40))
    page.saved()
    painted = page.mask(own.shape)
    assert painted[20, 20]
    assert painted[40, 60]

    inside, outside = (x, y), (20, height - 20)
    page.keys("u")
    page.drag(inside, outside)
    page.saved()
    pushed = page.mask(own.shape)
    assert pushed[outside[1], outside[0]]
    assert not (painted & ~pushed).any()
    page.drag((width - 10, 10), inside)
    page.saved()
    assert not page.mask(own.shape)[int(y), int(x)]
    page.keys("z", "z")
    page.saved()
    np.testing.assert_array_equal(page.mask(own.shape), painted)

    page.keys("2")
    page.wait(
        lambda: (
            page.find("#labels button:nth-child(2)").get_dom_attribute("aria-checked")
            == "true"
        )
    )
    page.find("#note").send_keys("<img src=x onerror=alert(1)>")
    page.find("#spacing").send_keys("0.1", Keys.TAB)
    page.wait(lambda: "mm²" in page.text("#lesions"))
    page.keys(Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "one"), painted)
    report = check_folder(scans / "annotations" / "reader")
    assert report.findings == ()
    notes = (scans / "annotations" / "reader" / "annotations.csv").read_text()
    assert "<img src=x onerror=alert(1)>" in notes
    assert "malignant" in notes
    assert [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ] == []


def test_with_the_keyboard_alone(browser: Any, server: Server, scans: Path) -> None:
    page = Page(browser, server.address)
    page.keys("p", "p")
    page.keys(Keys.PAGE_DOWN)
    page.wait(lambda: page.text("#caption").startswith("three"))
    _, truth = make_phantom(SEEDS["three"])
    page.keys(Keys.DELETE)
    page.wait(lambda: "no lesion" in page.text("#lesions"))
    page.saved()
    y, x = (int(value) for value in np.argwhere(truth).mean(0))
    height, width = truth.shape
    across = Keys.ARROW_RIGHT if x > width // 2 else Keys.ARROW_LEFT
    down = Keys.ARROW_DOWN if y > height // 2 else Keys.ARROW_UP
    page.keys("g", *[across] * abs(x - width // 2), *[down] * abs(y - height // 2))
    page.keys(" ")
    page.wait(lambda: "px" in page.text("#lesions"))
    page.keys("e", " ")
    page.saved()
    erased = page.mask(truth.shape)
    assert not erased[y, x]
    page.keys("z")
    page.saved()
    mask = page.mask(truth.shape)
    assert mask[y, x]
    assert dice(mask, truth) > 0.8
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "three"), mask)


def test_the_threshold_on_the_page_is_that_of_the_server(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "two")
    result = sonoseg.segment(scans / "two.png")
    smallest = sonoseg.load().card.min_lesion_fraction * result.mask.size
    for threshold in (0.12, 0.5, 0.83):
        page.driver.execute_script(
            "const s = document.getElementById('threshold'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            threshold,
        )
        wanted = drop_small(result.probability >= threshold, smallest)
        np.testing.assert_array_equal(page.mask(result.mask.shape), wanted)


def test_a_stroke_waits_for_a_server_that_was_killed(browser: Any, scans: Path) -> None:
    server = Server(scans)
    page = Page(browser, server.address)
    open_image(page, "one")
    shape = make_phantom(SEEDS["one"])[1].shape
    page.keys("b")
    page.drag((20, 20), (60, 40))
    page.saved()
    server.kill()
    page.drag((100, 20), (140, 40))
    page.wait(lambda: "does not answer" in page.text("#saved"))
    again = Server(scans, server.port)
    page.saved()
    shown = page.mask(shape)
    assert shown[20, 20]
    assert shown[40, 140]
    page.keys("4", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "one"), shown)
    again.kill()


def test_two_readers_at_once(browser: Any, server: Server, scans: Path) -> None:
    page = Page(browser, server.address)
    shape = make_phantom(SEEDS["one"])[1].shape
    masks = {}
    for reader, tool in (("anna", Keys.DELETE), ("bert", "q")):
        field = page.find("#reader")
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, reader, Keys.TAB)
        page.wait(lambda: page.text("#progress").startswith("0 of 3"))
        page.wait(lambda: page.text("#caption"))
        open_image(page, "one")
        page.keys(tool)
        page.saved()
        masks[reader] = page.mask(shape)
        page.keys("4")
        page.wait(
            lambda: (
                page.find("#labels button:nth-child(4)").get_dom_attribute(
                    "aria-checked"
                )
                == "true"
            )
        )
        page.keys(Keys.ENTER)
        page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    assert not masks["anna"].any()
    assert masks["bert"].any()
    for reader, mask in masks.items():
        np.testing.assert_array_equal(disk_mask(scans, "one", reader), mask)
    browser.execute_script("localStorage.clear()")


def test_names_with_markup_are_shown_as_text(
    browser: Any, server: Server, scans: Path
) -> None:
    name = "<img src=x onerror=document.title='hacked'>.png"
    (scans / "one.png").rename(scans / name)
    page = Page(browser, server.address)
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "#list li"))
    names = [
        each.text for each in page.driver.find_elements(By.CSS_SELECTOR, "#list .name")
    ]
    assert name in names
    time.sleep(0.5)
    assert browser.title == "sonoseg"
    assert page.driver.find_elements(By.CSS_SELECTOR, "#list .name img") == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_nothing_is_wider_than_the_screen(
    browser: Any, server: Server, width: int, height: int
) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption"))
    assert (
        page.driver.execute_script("return document.documentElement.scrollWidth")
        <= width
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def touch(page: Page, kind: str, *points: tuple[float, float]) -> None:
    """Puts fingers down at pixels of the image, moves or lifts them."""
    middle = page.driver.execute_script(
        "const r = document.getElementById('overlay').getBoundingClientRect();"
        "return [r.left + r.width / 2, r.top + r.height / 2]"
    )
    fingers = []
    for number, point in enumerate(points):
        x, y = page.place(*point)
        fingers.append({"x": middle[0] + x, "y": middle[1] + y, "id": number})
    page.driver.execute_cdp_cmd(
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers}
    )


def test_fingers_draw_and_zoom(browser: Any, server: Server) -> None:
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption").startswith("one"))
    shape = make_phantom(SEEDS["one"])[1].shape
    own = page.mask(shape)
    page.keys("0", "b")
    touch(page, "touchStart", (40, 40))
    touch(page, "touchMove", (80, 60))
    touch(page, "touchEnd")
    page.saved()
    drawn = page.mask(shape)
    assert drawn[40, 40]
    assert drawn[60, 80]
    page.keys("0")
    scale = float(page.find("#overlay").get_dom_attribute("data-scale"))
    touch(page, "touchStart", (200, 200))
    touch(page, "touchStart", (200, 200), (220, 200))
    touch(page, "touchMove", (150, 200), (220, 200))
    touch(page, "touchMove", (150, 200), (300, 200))
    touch(page, "touchEnd")
    time.sleep(0.3)
    assert float(page.find("#overlay").get_dom_attribute("data-scale")) > 2 * scale
    np.testing.assert_array_equal(page.mask(shape), drawn)
    assert (own & ~drawn).sum() == 0
    page.keys("z")
    page.saved()
    np.testing.assert_array_equal(page.mask(shape), own)


def test_the_documentation_works_without_the_net(browser: Any, server: Server) -> None:
    browser.get("about:blank")
    browser.get_log("browser")  # what earlier tests have left
    browser.get(f"{server.address}/docs")
    WebDriverWait(browser, 30).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, "section")
    )
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "POST /api/segment" in text
    assert "SegmentAnswer" in text
    assert [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ] == []


def test_a_dicom_file_is_corrected_and_becomes_seg_and_sr(
    browser: Any, tmp_path: Path
) -> None:
    write_dicom_phantoms(tmp_path, 1)
    (path,) = (tmp_path / "images").iterdir()
    server = Server(tmp_path / "images")
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption").startswith(path.stem))
    view = next(iter(read_dicom(path).views([1])))
    own = page.mask(view.image.pixels.shape)
    page.keys("0", "b")
    page.drag((40, 40), (80, 60))
    page.saved()
    drawn = page.mask(view.image.pixels.shape)
    assert (drawn & ~own).any()
    page.keys("1", Keys.ENTER)
    written = tmp_path / "images" / "annotations" / "reader"
    report = written / "dicom" / f"{path.stem}_sr.dcm"
    page.wait(report.exists)
    server.kill()
    np.testing.assert_array_equal(disk_mask(tmp_path / "images", path.stem), drawn)
    seg = pydicom.dcmread(written / "dicom" / f"{path.stem}_seg.dcm")
    in_seg = seg.pixel_array.reshape(-1, *view.shape).any(0)
    np.testing.assert_array_equal(in_seg, view.whole(drawn))
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert pydicom.dcmread(report).Modality == "SR"


def test_a_suggested_word_is_taken_over_by_a_click(
    browser: Any, server: Server
) -> None:
    page = Page(browser, server.address)
    page.wait(lambda: "px" in page.text("#lesions"))
    browser.execute_script(
        "document.getElementById('descriptors').parentElement.open = true"
    )
    button = browser.find_element(By.CSS_SELECTOR, "#descriptors .suggestion")
    word = button.text.removeprefix("suggested: ").rpartition(" (")[0]
    row = "return document.querySelector('#descriptors .row:has(.suggestion) select').value"
    assert word and browser.execute_script(row) == ""
    button.click()
    page.saved()
    assert browser.execute_script(row) == word
    browser.refresh()
    page.wait(lambda: "px" in page.text("#lesions"))
    page.wait(lambda: browser.execute_script(row) == word)
