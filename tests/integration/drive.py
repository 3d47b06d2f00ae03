"""Drives OHIF in a browser: opens a study, loads a segmentation or a report, and looks at what is drawn."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
PATIENCE = 180.0
"""Seconds to wait for OHIF, which draws in software here."""
GREETINGS = ("Skip all", "Confirm and hide")
"""Buttons that close what OHIF shows at its first start."""
COLOURED = 40
"""From this difference of its channels on, 0 to 255, a pixel is coloured and not gray."""


class Viewer:
    """OHIF in a browser.

    Args:
        browser: the browser.
        address: where OHIF is served.
    """

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self, study: str) -> None:
        """Opens a study and waits until its first image is drawn."""
        self.browser.get(f"{self.address}/viewer?StudyInstanceUIDs={study}")
        self.wait(lambda: self._is_drawn(), "the first image")
        self.close_greetings()

    def close_greetings(self) -> None:
        """Closes the notice and the tour, which come one after the other."""
        end = time.monotonic() + 8
        while time.monotonic() < end:
            for button in GREETINGS:
                self.click(button)
            time.sleep(0.5)

    def load(self, series: str) -> None:
        """Loads the series with this description, and says yes if OHIF asks whether to."""
        thumbnail = self.wait(lambda: self.find(series), f"the thumbnail of {series}")
        ActionChains(self.browser).double_click(thumbnail).perform()

    def answer(self, button: str) -> None:
        """Clicks the button when it is there."""
        self.wait(lambda: self.click(button), f"the button {button}")

    def find(self, text: str) -> WebElement | None:
        """Returns an element that shows exactly this text, or None."""
        for element in self.browser.find_elements(
            By.XPATH, f"//*[normalize-space(text())='{text}']"
        ):
            if element.is_displayed():
                return element
        return None

    def click(self, text: str) -> bool:
        """Clicks what shows this text; returns whether that was possible."""
        try:
            element = self.find(text)
            if element is not None:
                element.click()
            return element is not None
        except WebDriverException:  # it has just gone, or something lies over it
            return False

    def shows(self, text: str) -> bool:
        """Whether the page shows a text that contains this one."""
        return text in self.browser.find_element(By.TAG_NAME, "body").text

    def wait(self, condition: Callable[[], T], what: str) -> T:
        """Returns the condition's value as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                value = condition()
                if value:
                    return value
            except WebDriverException:  # the page is being built
                pass
            time.sleep(0.5)
        self.browser.save_screenshot("integration/failed.png")
        raise AssertionError(f"OHIF does not show {what}")

    def drawn_text(self, begin: str) -> str:
        """Returns the text over the image that begins so, or an empty text."""
        texts = [
            one.text for one in self.browser.find_elements(By.CSS_SELECTOR, "svg text")
        ]
        return next((text for text in texts if text.startswith(begin)), "")

    def frame(self) -> int:
        """Returns which frame is shown, from 1."""
        found = re.search(
            r"\((\d+)/\d+\)", self.browser.find_element(By.TAG_NAME, "body").text
        )
        return int(found[1]) if found else 1

    def show_frame(self, frame: int) -> bool:
        """Goes a frame towards this one; returns whether it is shown."""
        missing = frame - self.frame()
        if missing:
            key = Keys.ARROW_DOWN if missing > 0 else Keys.ARROW_UP
            ActionChains(self.browser).send_keys(key).perform()
        return missing == 0

    def picture(self) -> NDArray[np.uint8]:
        """Returns the viewport as it is drawn, (H, W, 3) uint8."""
        viewport = self.browser.find_element(By.CSS_SELECTOR, "[data-cy=viewport-pane]")
        box = viewport.rect
        screen = Image.open(io.BytesIO(self.browser.get_screenshot_as_png()))
        corners = (
            box["x"],
            box["y"],
            box["x"] + box["width"],
            box["y"] + box["height"],
        )
        return np.asarray(screen.convert("RGB").crop(tuple(map(round, corners))))

    def colours(self) -> NDArray[np.bool_]:
        """Returns where the viewport is coloured, (H, W) bool."""
        pixels = self.picture().astype(np.int16)
        return pixels.max(axis=2) - pixels.min(axis=2) > COLOURED

    def keep(self, file: Path) -> None:
        """Saves a screenshot."""
        self.browser.save_screenshot(str(file))

    def _is_drawn(self) -> bool:
        gray = self.picture().min(axis=2)
        return bool((gray > COLOURED).mean() > 0.02)
