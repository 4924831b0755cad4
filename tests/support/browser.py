"""A headless Chromium of the system's, where there is one: pages as it makes them of the HTML."""

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")


def chromium() -> str:
    """Its path; skips the test that asks, where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    return found


def dump_dom(page: Path) -> str:
    """The document after its scripts ran."""
    return _run(page, "--dump-dom")


def screenshot(page: Path, png: Path, width: int, dark: bool = False) -> bytes:
    """A picture of the page's beginning, also written to `png`."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(page, f"--screenshot={png}", f"--window-size={width},1200", scheme)
    return png.read_bytes()


def print_pdf(page: Path, pdf: Path) -> bytes:
    """The page as it is printed."""
    _run(page, f"--print-to-pdf={pdf}")
    return pdf.read_bytes()


def _run(page: Path, *options: str) -> str:
    profile = page.parent / "profile"
    command = [chromium(), *OPTIONS, f"--user-data-dir={profile}", "--virtual-time-budget=3000"]
    ended = subprocess.run(
        [*command, *options, page.resolve().as_uri()],
        **{"capture_output": True, "text": True, "timeout": 240, "check": True},
    )
    return ended.stdout
