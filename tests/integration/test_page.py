"""The page in a real browser: from opening a folder to a mask on the disk that is the canvas, pixel by pixel."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from proxy import Proxy
from pydicom.encaps import encapsulate
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.serve.server import Server

import sonoseg
from sonoseg import load
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

FRAMES = "const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(done));"


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
        """Waits until `condition` is true. An element that the page replaces meanwhile is looked for again."""
        replaced = (StaleElementReferenceException,)
        wait = WebDriverWait(self.driver, 60, 0.05, ignored_exceptions=replaced)
        return wait.until(lambda _: condition())

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.wait(lambda: [self.find(selector).text])[0])

    def attribute(self, selector: str, name: str) -> str:
        found = self.wait(lambda: [self.find(selector).get_dom_attribute(name)])[0]
        return found or ""

    def press(self, selector: str) -> None:
        """Clicks on an element. One that the page replaces before the click is looked for again."""
        self.wait(lambda: [self.find(selector).click()])

    def keys(self, *keys: str) -> None:
        """Presses keys while nothing but the page has the focus."""
        self.driver.execute_script("document.activeElement.blur()")
        ActionChains(self.driver).send_keys(*keys).perform()

    def saved(self) -> None:
        """Waits until the server has answered."""
        self.wait(lambda: self.text("#saved") in ("saved", "accepted"))

    def painted(self) -> None:
        """Waits until the canvas shows what the page holds: it is drawn at the next frame, however long that takes."""
        self.driver.execute_async_script(FRAMES)

    def scale(self) -> float:
        """How many pixels of the canvas a pixel of the image takes."""
        self.painted()
        return float(self.attribute("#overlay", "data-scale"))

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Where a pixel of the image lies, counted from the middle of the canvas."""
        self.painted()
        canvas = self.find("#overlay")
        left, top, scale = (
            float(self.attribute("#overlay", f"data-{name}"))
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
        if self.attribute("#layers button:nth-child(2)", "aria-pressed") != "true":
            self.keys("x", "f")
            self.driver.execute_script(
                "const s = document.getElementById('opacity'); s.value = 1; s.dispatchEvent(new Event('input'))"
            )
        self.keys("9")
        self.driver.execute_script("document.activeElement.blur()")
        ActionChains(self.driver).move_to_element(self.find("h1")).perform()
        self.painted()
        shown = self.driver.execute_script(CANVAS, shape[1], shape[0])
        return np.frombuffer(shown.encode(), np.uint8).reshape(shape) == ord("1")

    def mask_is_covered(self, shape: tuple[int, int]) -> bool:
        """Whether something lies over most of the image, as the heat does."""
        shown = self.driver.execute_script(CANVAS, shape[1], shape[0])
        return shown.count("1") > 0.9 * len(shown)

    def waits_for_mask(self, wanted: NDArray[np.bool_]) -> None:
        """Waits until the canvas shows exactly this mask."""
        self.wait(lambda: np.array_equal(self.mask(wanted.shape), wanted))

    def drawn(self) -> None:
        """Waits until the open image, or frame, is drawn at its place, and no other one is being opened."""
        canvas, stage = self.find("#overlay"), self.find("#stage")
        self.wait(
            lambda: self.driver.execute_script(
                "return '#' + arguments[0].dataset.shown === location.hash"
                " && arguments[1].ariaBusy !== 'true'",
                canvas,
                stage,
            )
        )

    def opening_times(self) -> list[float]:
        """Milliseconds from opening an image to the drawn outline, for each image that was opened."""
        marks = self.driver.execute_script(
            "return performance.getEntriesByType('mark').map(m => [m.name, m.startTime])"
        )
        begun: dict[str, float] = {}
        times = []
        for name, time_of in marks:
            kind, identifier = name.split(" ")
            if kind == "open":
                begun[identifier] = time_of
            elif identifier in begun:
                times.append(round(time_of - begun.pop(identifier), 1))
        return times


def ask(server: Server, path: str, body: Any = None, method: str = "GET") -> Any:
    """What the server answers to another window of the same reader."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(
        f"{server.address}/api/{path}", data, headers, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def identifier(server: Server, name: str) -> str:
    """The identifier of an image."""
    entries = ask(server, "images")["images"]
    return next(one["id"] for one in entries if one["name"].startswith(name))


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
    page.press(f'#list button[title^="{name}"]')
    page.drawn()
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
        lambda: page.attribute("#labels button:nth-child(2)", "aria-checked") == "true"
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
    page.wait(lambda: page.text("#caption").startswith("one"))
    page.keys("n")
    page.wait(lambda: page.text("#caption").startswith("three"))
    page.keys("p")
    page.wait(lambda: page.text("#caption").startswith("one"))
    page.keys(Keys.PAGE_DOWN)
    page.wait(lambda: page.text("#caption").startswith("three"))
    page.drawn()
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

    page.wait(lambda: page.text("#caption").startswith("two"))
    page.keys("p")
    page.wait(lambda: "✓ accepted" in page.text("#caption"))
    page.keys("w")  # withdrawn, and accepted again
    page.wait(lambda: page.text("#progress").startswith("0 of 3"))
    page.keys(Keys.ENTER)
    page.wait(lambda: page.text("#caption").startswith("two"))
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("2 of 3"))
    for name in ("three", "one"):
        page.keys(Keys.PAGE_UP)
        page.wait(lambda name=name: page.text("#caption").startswith(name))
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("3 of 3"))
    print("milliseconds from opening to the outline:", page.opening_times())
    train_one_step(scans / "annotations" / "reader")


def train_one_step(folder: Path) -> None:
    """Trains a small network for an epoch of one step on what was collected."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    subsets = ("train", "validation", "test")
    rows = [f"{name},{subset}" for name, subset in zip(names, subsets, strict=True)]
    split = folder.parent / "split.csv"
    split.write_text("\n".join(["file,subset", *rows]))
    command = [sys.executable, "-m", "sonoseg", "train", "sonoseg-1"]
    command += ["--data", str(folder), "--split", str(split)]
    command += ["--encoder-weights", "none", "--size", "64", "--batch", "1"]
    command += ["--epochs", "1", "--out", str(folder.parent / "run")]
    subprocess.run(command, check=True, timeout=300)
    assert list((folder.parent / "run").glob("*.safetensors"))


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
        page.waits_for_mask(wanted)


def test_a_server_that_is_killed_in_the_middle_of_a_stroke_loses_nothing(
    browser: Any, scans: Path
) -> None:
    server = Server(scans)
    page = Page(browser, server.address)
    open_image(page, "one")
    shape = make_phantom(SEEDS["one"])[1].shape
    page.keys("b")
    page.drag((20, 20), (60, 40))
    page.saved()
    before = page.mask(shape)
    page.keys("0")
    canvas = page.find("#overlay")
    pen = ActionChains(browser).move_to_element_with_offset(
        canvas, *page.place(100, 20)
    )
    pen.click_and_hold().perform()
    server.kill()
    journal = sqlite3.connect(scans / "annotations" / "session.db")
    assert journal.execute("SELECT count(*) FROM events").fetchone() == (2,)
    journal.close()
    pen = ActionChains(browser).move_to_element_with_offset(
        canvas, *page.place(140, 40)
    )
    pen.release().perform()
    page.wait(lambda: "does not answer" in page.text("#saved"))
    again = Server(scans, server.port)
    page.saved()
    shown = page.mask(shape)
    assert shown[40, 140]
    assert not (before & ~shown).any()
    page.keys("4", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "one"), shown)
    again.kill()


@pytest.mark.parametrize("status", [502, 408])
def test_strokes_wait_while_a_proxy_does_not_reach_the_server(
    browser: Any, server: Server, scans: Path, status: int
) -> None:
    shape = make_phantom(SEEDS["one"])[1].shape
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "one")
        page.keys("b")
        proxy.status = lambda *_: status
        page.drag((20, 20), (60, 40))
        page.wait(lambda: f"status {status}; trying again" in page.text("#saved"))
        page.drag((100, 20), (140, 40))
        page.keys("4", "n")  # the image stays until all is saved
        proxy.status = lambda *_: 0
        page.wait(lambda: page.text("#caption").startswith("three"))
        open_image(page, "one")
        shown = page.mask(shape)
        assert shown[20, 20]
        assert shown[40, 140]
        page.keys(Keys.ENTER)
        page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "one"), shown)


def test_what_was_refused_is_not_shown_as_saved(
    browser: Any, server: Server, scans: Path
) -> None:
    own = load().segment(scans / "one.png").mask
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "one")
        page.keys("b")
        proxy.status = lambda method, _: 422 if method == "POST" else 502
        page.drag((20, 20), (60, 40))
        page.wait(lambda: page.text("#saved").startswith("not saved"))
        page.drag((100, 20), (140, 40))  # not drawn on a mask that nobody has
        page.keys("4", Keys.DELETE, Keys.ENTER)
        assert page.text("#saved").startswith("not saved")
        proxy.status = lambda *_: 0
        page.saved()
        assert "422" in page.text("#message")
        page.waits_for_mask(own)
    shown = ask(server, f"images/{identifier(server, 'one')}")
    assert (shown["state"], shown["revision"]) == ("open", 0)


def test_an_edit_at_which_the_server_fails_is_given_up(
    browser: Any, server: Server, scans: Path
) -> None:
    """It would fail again each time, and hold the reader on this image."""
    own = load().segment(scans / "one.png").mask
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "one")
        page.keys("b")
        proxy.status = lambda method, _: 500 if method == "POST" else 0
        page.drag((20, 20), (60, 40))
        page.wait(lambda: "500" in page.text("#message"))
        page.waits_for_mask(own)
        page.keys("n")
        page.wait(lambda: page.text("#caption").startswith("three"))


def test_a_stroke_waits_until_the_token_is_typed_again(
    browser: Any, scans: Path, tmp_path: Path
) -> None:
    token = "correct-horse-battery"
    (tmp_path / "token").write_text(token)
    server = Server(scans, options=("--token-file", str(tmp_path / "token")))
    page = Page(browser, f"{server.address}/#token={token}")
    open_image(page, "one")
    shape = make_phantom(SEEDS["one"])[1].shape
    page.keys("b")
    browser.delete_all_cookies()
    page.drag((20, 20), (60, 40))
    page.wait(lambda: page.find("#login").is_displayed())
    page.find("#token").send_keys("wrong", Keys.ENTER)
    page.wait(lambda: "wrong" in page.text("#login-problem"))
    page.find("#token").clear()
    page.find("#token").send_keys(token, Keys.ENTER)
    page.saved()
    assert not page.find("#login").is_displayed()
    shown = page.mask(shape)
    assert shown[20, 20]
    page.keys("4", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    np.testing.assert_array_equal(disk_mask(scans, "one"), shown)
    server.kill()


def test_words_and_strokes_of_another_window_are_shown_before_they_are_changed(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    address = f"images/{identifier(server, 'one')}"
    words = ask(server, address)["words"]
    finding = {"words": words, "label": "malignant", "note": "spiculated"}
    words = ask(server, f"{address}/finding", finding, "PUT")["words"]
    page.keys("1")
    page.wait(lambda: "other words" in page.text("#message"))
    page.saved()
    note = page.find("#note")
    assert note.get_property("value") == "spiculated"
    assert ask(server, address)["words"] == words
    edit = {"key": "k" * 8, "after": 0, "tool": "clear"}
    ask(server, f"{address}/edits", edit, "POST")
    page.keys("2")
    page.wait(lambda: "another window" in page.text("#message"))
    page.saved()
    page.waits_for_mask(np.zeros(make_phantom(SEEDS["one"])[1].shape, bool))
    ask(server, f"{address}/finding", {"words": words, "label": "normal"}, "PUT")
    page.keys(Keys.ENTER)
    page.wait(lambda: "other words" in page.text("#message"))
    page.wait(lambda: note.get_property("value") == "")
    assert ask(server, address)["state"] == "edited"
    # What one window writes in a row does not hinder itself.
    page.keys("1", "2", "4", "1")
    note.send_keys("a simple cyst")
    page.keys("4", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    table = (scans / "annotations" / "reader" / "annotations.csv").read_text()
    assert "uncertain" in table
    assert "a simple cyst" in table


def test_an_image_that_is_accepted_while_another_one_is_opened(
    browser: Any, server: Server
) -> None:
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "three")
        page.painted()
        lesions = page.text("#lesions")
        open_image(page, "one")
        page.keys("1")
        page.saved()
        accepts = f"/api/images/{identifier(server, 'one')}/accept"
        with proxy.hold("POST", accepts) as gate:
            page.keys(Keys.ENTER, Keys.ENTER, Keys.DELETE)
            assert gate.arrived.wait(60)
            page.keys("n")
            page.wait(lambda: page.text("#caption").startswith("three"))
        page.wait(lambda: page.text("#progress").startswith("1 of 3"))
        assert gate.count == 1
        page.drawn()
        assert page.text("#caption").startswith("three")
        assert "accepted" not in page.text("#caption")
        assert page.text("#lesions") == lesions
        open_image(page, "one")
        page.wait(lambda: "✓ accepted" in page.text("#caption"))


def test_keys_count_before_the_list_has_come(browser: Any, server: Server) -> None:
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "one")
        page.keys("1")
        page.saved()
        with proxy.hold("GET", "/api/images") as gate:
            page.keys(Keys.ENTER)
            assert gate.arrived.wait(60)
            page.wait(lambda: page.text("#caption").startswith("three"))
            page.keys("p")
            page.wait(lambda: "✓ accepted" in page.text("#caption"))
            page.keys("w")
            page.wait(lambda: page.text("#progress").startswith("0 of 3"))
            page.keys(Keys.ENTER)
            page.wait(lambda: page.text("#caption").startswith("three"))
            assert page.text("#progress").startswith("1 of 3")
        page.keys("p")
        page.wait(lambda: "✓ accepted" in page.text("#caption"))
    assert ask(server, f"images/{identifier(server, 'one')}")["state"] == "accepted"


def test_a_key_that_is_held_accepts_nothing(browser: Any, server: Server) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    page.keys("1")
    page.saved()
    held = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    page.driver.execute_cdp_cmd(
        "Input.dispatchKeyEvent", {"type": "rawKeyDown", "autoRepeat": True, **held}
    )
    page.keys("n")
    page.wait(lambda: page.text("#caption").startswith("three"))
    assert ask(server, f"images/{identifier(server, 'one')}")["state"] == "edited"


def test_what_is_typed_while_an_image_is_opened_does_not_get_into_it(
    browser: Any, server: Server
) -> None:
    of_one, of_three = identifier(server, "one"), identifier(server, "three")
    with Proxy(server.port) as proxy:
        page = Page(browser, proxy.address)
        open_image(page, "one")
        note = page.find("#note")
        with proxy.hold("GET", f"/api/images/{of_three}") as gate:
            note.send_keys("cyst")
            page.press('#list button[title^="three"]')
            assert gate.arrived.wait(60)
            note.send_keys(", no, spiculated")
            page.driver.execute_script("document.activeElement.blur()")
            ActionChains(browser).send_keys("3", Keys.DELETE).perform()
            note.click()
        page.wait(lambda: page.text("#caption").startswith("three"))
        assert note.get_property("value") == ""
        note.send_keys("new")
        page.saved()
    assert ask(server, f"images/{of_one}")["finding"]["note"] == "cyst"
    three = ask(server, f"images/{of_three}")
    assert (three["finding"]["note"], three["finding"]["label"]) == ("new", "")
    assert three["revision"] == 0


def test_two_readers_at_once(browser: Any, server: Server, scans: Path) -> None:
    shape = make_phantom(SEEDS["one"])[1].shape
    first = browser.current_window_handle
    pages = {}
    for reader in ("anna", "bert"):
        if pages:
            browser.switch_to.new_window("tab")
        page = Page(browser, server.address)
        field = page.find("#reader")
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, reader, Keys.TAB)
        page.wait(lambda page=page: page.text("#progress").startswith("0 of 3"))
        open_image(page, "one")
        pages[reader] = (browser.current_window_handle, page)
    masks = {}
    for stroke, reader in enumerate(("anna", "bert", "anna", "bert")):
        window, page = pages[reader]
        browser.switch_to.window(window)
        page.keys("0", "b")
        page.drag((20 + 90 * stroke, 20), (60 + 90 * stroke, 40))
        page.saved()
        masks[reader] = page.mask(shape)
    for window, page in pages.values():
        browser.switch_to.window(window)
        page.keys("4", Keys.ENTER)
        page.wait(lambda page=page: page.text("#progress").startswith("1 of 3"))
    assert masks["anna"][20, 20]
    assert not masks["bert"][20, 20]
    assert masks["bert"][20, 110]
    for reader, mask in masks.items():
        np.testing.assert_array_equal(disk_mask(scans, "one", reader), mask)
    browser.execute_script("localStorage.clear()")
    browser.close()
    browser.switch_to.window(first)


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


CONTRAST = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((digits) => {
    const value = Number(digits) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const { color, backgroundColor } = getComputedStyle(document.querySelector(arguments[0]));
const [dark, bright] = [light(color), light(backgroundColor)].sort((one, other) => one - other);
return (bright + 0.05) / (dark + 0.05);
"""
"""The contrast of text and background of an element (WCAG 2.2, 1.4.3)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_buttons_can_be_read_under_the_pointer(
    browser: Any, server: Server, scheme: str
) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption"))
    page.keys("1", "b")
    page.saved()
    for chosen in (
        "#accept",
        "#labels button[aria-checked=true]",
        "#labels button[aria-checked=false]",
        "#tools button[aria-pressed=true]",
        "#layers button[aria-pressed=true]",
    ):
        ActionChains(browser).move_to_element(page.find(chosen)).perform()
        page.wait(lambda chosen=chosen: page.find(f"{chosen}:hover"))
        assert browser.execute_script(CONTRAST, chosen) >= 4.5, chosen
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_refusal_and_the_end_of_the_caption_are_in_sight(
    browser: Any, server: Server, scans: Path, width: int, height: int
) -> None:
    name = "a-very-long-name-of-an-ultrasound-image-" * 4
    (scans / "one.png").rename(scans / f"{name}.png")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption").startswith(name))
    cut = "const e = document.querySelector(arguments[0]); return [e.clientWidth, e.scrollWidth]"
    first, last = "#caption span:first-child", "#caption span:last-child"
    shown, needed = browser.execute_script(cut.replace("client", "offset"), first)
    assert 60 < shown < needed
    shown, needed = browser.execute_script(cut.replace("client", "offset"), last)
    assert shown >= needed
    page.press("#accept")  # without a label
    page.wait(lambda: page.find("#message").is_displayed())
    box = "const r = document.getElementById('message').getBoundingClientRect(); return [r.top, r.bottom]"
    top, bottom = browser.execute_script(box)
    assert 0 <= top < bottom <= height
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
    scale = page.scale()
    touch(page, "touchStart", (200, 200))
    touch(page, "touchStart", (200, 200), (220, 200))
    touch(page, "touchMove", (150, 200), (220, 200))
    touch(page, "touchMove", (150, 200), (300, 200))
    touch(page, "touchEnd")
    assert page.scale() > 2 * scale
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
    assert "`" not in text
    assert [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ] == []


def test_lesions_are_cut_joined_hidden_and_deleted(
    browser: Any, server: Server
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    own = page.mask(make_phantom(SEEDS["one"])[1].shape)
    page.keys("0")
    y, x = (int(value) for value in np.argwhere(own).mean(0))
    page.keys("k")
    page.drag((x, 5), (x, own.shape[0] - 5))
    page.saved()
    page.wait(lambda: rows(page) == 2)
    cut = page.mask(own.shape)
    assert own[y, x]
    assert not cut[y, x]
    assert (own & ~cut).sum() <= 3 * own.any(1).sum()

    page.keys("0")
    page.press("#lesions tr:nth-child(2) .actions button")
    one_hidden = page.mask(own.shape)
    assert 0 < one_hidden.sum() < cut.sum()
    assert rows(page) == 2
    page.keys("i")  # there is no cross, so all are shown again
    page.waits_for_mask(cut)

    page.keys("0", "j")
    page.drag((x - 20, y), (x + 20, y))
    page.saved()
    page.wait(lambda: rows(page) == 1)
    joined = page.mask(own.shape)
    assert joined[y, x]
    assert not (cut & ~joined).any()
    page.keys("z")
    page.saved()
    page.waits_for_mask(cut)
    page.keys("0")
    page.press("#lesions tr:nth-child(3) .actions button:last-child")
    page.wait(lambda: rows(page) == 1)
    page.saved()
    assert 0 < page.mask(own.shape).sum() < cut.sum()
    page.keys("q")
    page.saved()
    page.waits_for_mask(own)


DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
"""


def test_an_image_is_dropped_and_a_lesion_found_in_a_box(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption"))
    pixels, truth = make_phantom(11)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    browser.execute_script(DROP, base64.b64encode(file.getvalue()).decode())
    page.wait(lambda: page.text("#caption").startswith("dropped"))
    page.drawn()
    np.testing.assert_array_equal(np.asarray(Image.open(scans / "dropped.png")), pixels)
    page.keys(Keys.DELETE)
    page.wait(lambda: "no lesion" in page.text("#lesions"))
    page.saved()
    rows, columns = np.nonzero(truth)
    page.keys("r")
    corner = (columns.min() - 12, rows.min() - 12)
    page.drag(corner, (columns.max() + 12, rows.max() + 12))
    page.wait(lambda: "px" in page.text("#lesions"))
    page.saved()
    assert dice(page.mask(truth.shape), truth) > 0.7
    page.keys("f", "h")
    page.wait(lambda: page.mask_is_covered(truth.shape))


def test_a_cut_and_calipers_with_the_keyboard(browser: Any, server: Server) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    own = page.mask(make_phantom(SEEDS["one"])[1].shape)
    height, width = own.shape
    x = int(np.argwhere(own).mean(0)[1])
    page.keys("k", *[Keys.ARROW_LEFT] * (width // 2 - x))
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(
        *[Keys.ARROW_UP] * (height // 20 + 1)
    ).key_up(Keys.SHIFT).perform()
    page.keys(" ")
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(
        *[Keys.ARROW_DOWN] * (height // 10 + 1)
    ).key_up(Keys.SHIFT).perform()
    page.keys(" ")
    page.saved()
    page.wait(lambda: rows(page) == 2)
    page.keys("z")
    page.saved()
    page.wait(lambda: rows(page) == 1)
    before = page.text("#lesions tr:nth-child(2) td")
    page.keys("m", " ", Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP, " ")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".by-hand"))
    page.saved()
    assert page.text(".by-hand") != before
    page.keys("M")
    page.wait(lambda: page.text("#lesions tr:nth-child(2) td") == before)


def rows(page: Page) -> int:
    """How many lesions the table has."""
    found = page.driver.find_elements(By.CSS_SELECTOR, "#lesions tr")
    return len(found) - 1


def axes(page: Page) -> str:
    """The diameters of the largest lesion, as the table shows them."""
    return page.text("#lesions tr:nth-child(2) td")


def is_measured(page: Page) -> bool:
    """Whether the table shows diameters by hand."""
    return bool(page.driver.find_elements(By.CSS_SELECTOR, ".by-hand"))


def test_what_was_done_last_is_undone_first_be_it_a_stroke_or_calipers(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    own = axes(page)
    page.keys("b")
    page.drag((8, 8), (12, 8))
    page.saved()
    page.wait(lambda: rows(page) == 2)
    x, y = sonoseg.segment(scans / "one.png").lesions[0].longest.start
    page.keys("m")
    page.drag((x - 0.5, y - 0.5), (x + 20, y + 20))
    page.saved()
    moved = axes(page)
    assert is_measured(page)
    assert moved != own
    page.keys("z")
    page.wait(lambda: axes(page) == own)
    page.saved()
    assert rows(page) == 2
    page.keys("y")
    page.wait(lambda: axes(page) == moved)
    page.saved()
    page.keys("z", "z")
    page.wait(lambda: rows(page) == 1)
    page.saved()
    assert not is_measured(page)


def test_calipers_of_a_lesion_that_is_cut_in_two_do_not_count(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    lesion = sonoseg.segment(scans / "one.png").lesions[0]
    (x, y), (middle, _) = lesion.longest.start, lesion.centre
    page.keys("m")
    page.drag((x - 0.5, y - 0.5), (x + 20, y + 20))
    page.saved()
    assert is_measured(page)
    _, top, _, height = lesion.box
    page.keys("k")
    page.drag((middle, top - 4), (middle, top + height + 4))
    page.saved()
    page.wait(lambda: rows(page) == 2)
    assert not is_measured(page)
    assert "measure it again" in page.text("#doubts")
    page.keys("z")
    page.wait(lambda: rows(page) == 1)
    page.saved()
    assert is_measured(page)
    assert not page.text("#doubts")


def test_an_end_in_hand_is_put_back_by_escape_undo_and_another_tool(
    browser: Any, server: Server
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    own = axes(page)
    for leave in (Keys.ESCAPE, "z", "b"):
        page.keys("m", Keys.ARROW_UP, " ", Keys.ARROW_UP)
        page.wait(lambda: is_measured(page))
        page.keys(leave)
        page.wait(lambda: axes(page) == own)
        page.keys(Keys.ARROW_UP)
        page.painted()
        assert not is_measured(page)
    assert page.find('button[data-command="z"]').get_property("disabled")
    # A label is no reason to put it back.
    page.keys("m", " ", Keys.ARROW_UP)
    moved = axes(page)
    page.keys("1")
    page.saved()
    assert axes(page) == moved
    page.keys(Keys.ESCAPE)
    page.wait(lambda: axes(page) == own)


def test_the_diameters_that_are_shown_are_accepted_with_an_end_in_hand(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    page.keys("1", "m", Keys.ARROW_UP, " ", *[Keys.ARROW_UP] * 9)
    page.wait(lambda: is_measured(page))
    shown = [float(length) for length in axes(page).split(" × ")]
    page.keys(Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    table = (scans / "annotations" / "reader" / "labels.csv").read_text()
    written = table.splitlines()[1].rsplit(",", 1)[1].removesuffix(" px")
    lengths = [float(length) for length in written.split(" x ")]
    np.testing.assert_allclose(lengths, sorted(shown)[::-1], atol=0.51)


def test_calipers_are_dragged_and_written(
    browser: Any, server: Server, scans: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    lesion = sonoseg.segment(scans / "one.png").lesions[0]
    page.find("#spacing").send_keys("0.1", Keys.TAB)
    page.wait(lambda: "mm²" in page.text("#lesions"))
    page.saved()
    page.keys("m")
    start, end = lesion.longest.start, lesion.longest.end
    moved = (end[0] + 30, end[1] + 15)
    page.drag((start[0] - 0.5, start[1] - 0.5), (start[0] - 1.5, start[1] - 0.5))
    page.drag((end[0] - 0.5, end[1] - 0.5), (moved[0] - 0.5, moved[1] - 0.5))
    page.saved()
    length = np.hypot(moved[0] - start[0] + 1, moved[1] - start[1]) * 0.1
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".by-hand"))
    shown = float(page.text(".by-hand").split(" ")[0])
    assert abs(shown - length) < 0.15  # the pointer moves by whole pixels of the screen
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 of 3"))
    table = (scans / "annotations" / "reader" / "labels.csv").read_text()
    written = float(table.splitlines()[1].rsplit(",", 1)[1].split(" ")[0])
    assert abs(written - shown) <= 0.05
    open_image(page, "one")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".by-hand"))
    page.keys("M")
    page.wait(lambda: not page.driver.find_elements(By.CSS_SELECTOR, ".by-hand"))


def test_a_loop_is_played_and_a_frame_of_it_corrected_and_accepted(
    browser: Any, tmp_path: Path
) -> None:
    write_dicom_phantoms(tmp_path, 2)
    folder = tmp_path / "images"
    (path,) = folder.glob("*_loop.dcm")
    server = Server(folder)
    page = Page(browser, server.address)
    open_image(page, path.stem)
    file = read_dicom(path)
    page.wait(lambda: "frame 1 of 12" in page.text("#caption"))
    page.keys("l")
    page.wait(lambda: "frame 4 of 12" in page.text("#caption"))
    page.keys("l")
    page.wait(lambda: page.attribute("#play", "aria-label") == "Play")
    page.keys(Keys.HOME)
    page.wait(lambda: "frame 1 of 12" in page.text("#caption"))
    for frame in (2, 3):
        page.keys("s")
        words = f"frame {frame} of 12"
        page.wait(lambda words=words: words in page.text("#caption"))
    (view,) = file.views([3])
    own = sonoseg.load().segment(view.image).mask
    page.waits_for_mask(own)
    y, x = (int(value) for value in np.argwhere(own).mean(0))
    page.keys("0", "e")
    page.drag((x - 3, y), (x + 3, y))
    page.saved()
    corrected = page.mask(own.shape)
    assert not corrected[y, x]
    page.keys("1", Keys.ENTER)
    page.wait(lambda: "✓ accepted" in page.text("#caption"))
    page.keys("s")
    (view,) = file.views([4])
    page.wait(lambda: "frame 4 of 12" in page.text("#caption"))
    page.waits_for_mask(sonoseg.load().segment(view.image).mask)
    page.keys("a")
    page.wait(lambda: "frame 3 of 12" in page.text("#caption"))
    page.waits_for_mask(corrected)
    label = '#list button[aria-current="true"] .label'
    page.wait(lambda: page.text(label) == "benign · 1 of 12 frames")
    server.kill()
    name = f"{path.stem}_frame0003"
    np.testing.assert_array_equal(disk_mask(folder, name), corrected)
    written = folder / "annotations" / "reader"
    assert check_folder(written).findings == ()
    seg = pydicom.dcmread(written / "dicom" / f"{path.stem}_seg.dcm")
    (item,) = seg.PerFrameFunctionalGroupsSequence
    source = item.DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedFrameNumber == 3
    in_seg = seg.pixel_array.reshape(view.shape) > 0
    np.testing.assert_array_equal(in_seg, view.whole(corrected))


def test_frames_that_pass_by_are_not_changed(browser: Any, tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path, 2)
    folder = tmp_path / "images"
    (path,) = folder.glob("*_loop.dcm")
    server = Server(folder)
    page = Page(browser, server.address)
    open_image(page, path.stem)
    frames = f"images/{identifier(server, path.stem)}-1/frames"
    page.keys("b", "l")
    page.wait(lambda: "frame 3 of 12" in page.text("#caption"))
    page.keys(Keys.DELETE, "3", "t", "T", "M", "q", "z", " ", Keys.ENTER)
    page.wait(lambda: "Pause first" in page.text("#message"))
    page.drag((30, 30), (60, 40))
    page.keys("l")
    page.wait(lambda: page.attribute("#play", "aria-label") == "Play")
    page.drawn()
    assert ask(server, frames)["states"] == {}
    page.keys(Keys.DELETE)
    page.wait(lambda: "no lesion" in page.text("#lesions"))
    page.saved()
    number = page.text("#frame-number").split(" ")[0]
    assert ask(server, frames)["states"] == {number: "edited"}
    server.kill()


def test_a_loop_that_cannot_be_played_to_its_end_can_be_corrected(
    browser: Any, tmp_path: Path
) -> None:
    write_dicom_phantoms(tmp_path, 2)
    folder = tmp_path / "images"
    (path,) = folder.glob("*_loop.dcm")
    dataset = pydicom.dcmread(path)
    frames = []
    for frame in dataset.pixel_array[:3]:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
        frames.append(buffer.getvalue())
    dataset.PixelData = encapsulate([*frames[:2], frames[2][:60]])
    dataset["PixelData"].is_undefined_length = True
    dataset.NumberOfFrames = 3
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset.save_as(path)
    server = Server(folder)
    page = Page(browser, server.address)
    open_image(page, path.stem)
    page.wait(lambda: "frame 1 of 3" in page.text("#caption"))
    page.keys("l")
    page.wait(lambda: "frame 2 of 3" in page.text("#caption"))
    page.wait(lambda: "damaged" in page.text("#message"))
    page.wait(lambda: page.attribute("#play", "aria-label") == "Play")
    page.keys("4")
    page.saved()
    page.wait(lambda: page.find("#accept").is_enabled())
    page.keys(Keys.ENTER)
    page.wait(lambda: "frame 2 of 3 · ✓ accepted" in page.text("#caption"))
    server.kill()


def open_scan(browser: Any, folder: Path) -> tuple[Path, Server, Page]:
    """A DICOM still in a folder of its own, shown by a server."""
    write_dicom_phantoms(folder, 1)
    (path,) = (folder / "images").iterdir()
    server = Server(folder / "images")
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#caption").startswith(path.stem))
    return path, server, page


def test_a_dicom_file_is_corrected_and_becomes_seg_and_sr(
    browser: Any, tmp_path: Path
) -> None:
    path, server, page = open_scan(browser, tmp_path)
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


def test_an_image_that_left_the_folder_is_withdrawn_and_twins_are_named(
    browser: Any, server: Server, scans: Path, screenshots: Path
) -> None:
    page = Page(browser, server.address)
    open_image(page, "one")
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 "))
    assert not page.find("#gone").is_displayed()
    (scans / "one.png").rename(scans.parent / "one.png")
    Image.fromarray(make_phantom(9)[0]).save(scans / "two.bmp")
    page = Page(browser, server.address)
    page.wait(lambda: page.text("#progress") == "0 of 3 accepted")
    assert "two.bmp and two.png have one name" in page.text("#passed-over")
    assert page.text("#gone-list li").split() == ["one.png", "Withdraw"]
    browser.save_screenshot(str(screenshots / "gone.png"))
    own = scans / "annotations" / "reader"
    page.press("#gone button")
    browser.switch_to.alert.dismiss()
    assert (own / "masks" / "one.png").exists()
    page.press("#gone button")
    browser.switch_to.alert.accept()
    page.wait(lambda: not page.find("#gone").is_displayed())
    assert page.text("#saved") == "one.png: withdrawn"
    assert [path.name for path in own.rglob("*.png")] == []
    assert "one" not in (own / "labels.csv").read_text()


def test_an_image_that_was_replaced_is_shown_anew_and_a_line_says_so(
    browser: Any, server: Server, scans: Path, screenshots: Path
) -> None:
    page = Page(browser, server.address)
    name = sorted(SEEDS)[0]
    open_image(page, name)
    page.keys("0", "b")
    page.drag((20, 20), (60, 30))
    page.saved()
    page.keys("1", Keys.ENTER)
    page.wait(lambda: page.text("#progress").startswith("1 "))
    open_image(page, name)
    new = make_phantom(41, True, (260, 380))[0]
    Image.fromarray(new).save(scans / f"{name}.png")
    # A stroke on the former image changes nothing; the page shows the new one.
    page.keys("b")
    page.drag((30, 60), (60, 60))
    page.wait(lambda: "380 × 260" in page.text("#caption"))
    page.wait(lambda: "replaced" in page.text("#doubts"))
    page.drawn()
    own = load().segment(scans / f"{name}.png").mask
    page.waits_for_mask(own)
    assert page.text("#progress").startswith("0 ")
    assert "accepted" not in page.text("#caption")
    browser.save_screenshot(str(screenshots / "replaced.png"))


def test_another_network_and_another_size_of_a_pixel_are_named(
    browser: Any, tmp_path: Path, screenshots: Path
) -> None:
    _, server, page = open_scan(browser, tmp_path)
    first = page.text("#model")
    field = page.find("#spacing")
    field.clear()
    field.send_keys("0.5", Keys.ENTER)
    page.wait(lambda: "the user says otherwise" in page.text("#doubts"))
    page.keys("1", Keys.ENTER)
    page.wait(lambda: "accepted" in page.text("#caption"))
    server.kill()
    server = Server(tmp_path / "images", options=("--model", "accurate"))
    page = Page(browser, server.address)
    page.wait(lambda: "✓ accepted" in page.text("#caption"))
    assert page.text("#model") == first
    assert "not of the network in use" in page.text("#doubts")
    browser.save_screenshot(str(screenshots / "other-network.png"))
    server.kill()


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
