"""A headless Chromium, and functions that read the page in it."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, DESKTOP = (375, 812), (1280, 900)  # CSS pixels


def found() -> tuple[str, str] | None:
    """The paths of a Chromium and its driver, where both are there. Nothing is ever downloaded."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


class Browser:
    def __init__(self, chromium: str, driver: str) -> None:
        options = ChromeOptions()
        options.binary_location = chromium
        # As root there is no sandbox; in a container /dev/shm is small.
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(driver))

    def open(self, path: Path, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", media: str = "") -> None:
        """Load a file; what the browser said about earlier ones is forgotten."""
        width, height = size
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.media(scheme, media)
        self.console(), self.requests()
        self.driver.get(path.as_uri())

    def media(self, scheme: str = "light", media: str = "") -> None:
        self.cdp(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def cdp(self, command: str, **arguments: object) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns; a promise is waited for."""
        text = f"(async (...a) => {{ {script} }})(...arguments).then(arguments[arguments.length - 1])"
        return self.driver.execute_async_script(text, *arguments)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        return self.run("return [...document.querySelectorAll(a[0])].map(e => e.textContent.trim())", css)

    def style(self, css: str, name: str) -> str:
        return self.run("return getComputedStyle(document.querySelector(a[0]))[a[1]]", css, name)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def hover(self, element: WebElement, dx: int = 0, dy: int = 0) -> None:
        ActionChains(self.driver, duration=0).move_to_element_with_offset(element, dx, dy).perform()

    def console(self) -> list[str]:
        """Errors and warnings since the last time, and everything else that was said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that was asked for since the last time; data: is no request."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    @contextmanager
    def without_script(self):
        self.cdp("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield
        finally:
            self.cdp("Emulation.setScriptExecutionDisabled", value=False)

    def close(self) -> None:
        self.driver.quit()
