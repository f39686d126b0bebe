"""Makes the icons of the installed application from the drawing: `.venv/bin/python docs/make_icons.py`."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

SITE = Path(__file__).resolve().parents[1] / "project/static/site"
VERDIGRIS = "#0b6557"
# Its name, its side, how much of that the seal takes, and what is behind the seal.
ICONS = [
    ("icon-192.png", 192, 1.0, "transparent"),
    ("icon-512.png", 512, 1.0, "transparent"),
    ("icon-maskable-512.png", 512, 0.8, VERDIGRIS),  # a system may cut off a tenth on each side
    ("icon-180.png", 180, 0.9, VERDIGRIS),  # Apple rounds the corners itself
]


def make() -> None:
    drawing = (SITE / "signet.svg").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for name, side, part, ground in ICONS:
            page = browser.new_page(viewport={"width": side, "height": side})
            page.set_content(
                f"<style>body {{ margin: 0; background: {ground}; display: grid; height: 100vh;"
                f" place-items: center }} svg {{ width: {part * 100}vw }}</style>{drawing}"
            )
            page.screenshot(path=SITE / name, omit_background=True)
        browser.close()


if __name__ == "__main__":
    make()
