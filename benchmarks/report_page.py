"""The report of the documentation, and its screenshots, from the sweeps in `benchmarks/results/example-sweeps/`.

    python -m benchmarks.report_page --images docs/images

Without `--images` it only writes the page, as the build of the documentation does. Screenshots need playwright and an
installed Chromium: `pip install playwright`, `apt-get install chromium`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.example_sweeps import FOLDER, ROOT, registered

PAGE = ROOT / "docs/_generated/site/report-example.html"
DRAWN = "html[data-drawn=yes]"
WIDE, NARROW = (1400, 900), (400, 860)
MARGIN = 16  # pixels around what is shown
# The file's name, the elements that it begins and ends with, and the window: of a desktop or a phone.
SHOTS = (
    ("report-summary", "#summary", "#summary", WIDE),
    ("report-problem", "#problem", "#part-race", WIDE),
    ("report-knobs", "#knobs", "#knobs", WIDE),
    ("report-compare", "#compare", "#compare", WIDE),
    ("report-coverage", "#coverage", "#coverage", WIDE),
    ("report-narrow", "#problem", "#part-race", NARROW),
)


@contextlib.contextmanager
def example_store(folder: Path = FOLDER) -> Iterator[Any]:
    """Yield a store of all sweeps in the folder, with the copy rates of their devices."""
    from tunedb.store import load, open_store
    from tunedb.store.sql.copy_rates import CopyRate

    with tempfile.TemporaryDirectory() as place, open_store(f"{place}/t.db") as store:
        for file in sorted(folder.glob("*.jsonl.gz")):
            sweeps = load(io.BytesIO(gzip.decompress(file.read_bytes())), strict=True).sweeps
            store.put_sweeps(sweeps)
            note = json.loads(file.with_name(file.name.replace(".jsonl.gz", ".json")).read_text(encoding="utf-8"))
            if "bytes_per_s" in note:
                rate = CopyRate(note["bytes_per_s"], datetime.fromisoformat(note["measured"]), "")
                store.copy_rates.put(sweeps[0].device, rate)
        yield store


def devices(folder: Path = FOLDER) -> list[str]:
    """Return the names of the GPUs whose sweeps are in the folder."""
    notes = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json")))
    return [note["device"] for note in notes]


def write_page(file: Path = PAGE, folder: Path = FOLDER) -> bool:
    """Write the page; return whether there are sweeps to report."""
    from tunedb.reporting.document import make_report
    from tunedb.store.stored import Stored

    if not any(folder.glob("*.jsonl.gz")):
        return False
    with registered(), example_store(folder) as store:
        file.parent.mkdir(parents=True, exist_ok=True)
        make_report(Stored(store, None)).save(file)
    return True


def shoot(page: Path, folder: Path, *, scheme: str = "light") -> list[Path]:
    """Write the screenshots of a page; return the files. Raises SystemExit without a browser, or a part of the page."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise SystemExit("Screenshots need playwright. Run: pip install playwright") from None
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("Screenshots need Chromium. Run: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with (
        sync_playwright() as started,
        contextlib.closing(started.chromium.launch(executable_path=found, args=["--no-sandbox"])) as browser,
    ):
        tabs: dict[tuple[int, int], Any] = {}
        for name, first, last, window in SHOTS:
            width, height = window
            if window not in tabs:
                tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                tab.goto(page.absolute().as_uri())
                tab.wait_for_selector(DRAWN, state="attached")
                tab.add_style_tag(content="nav { position: static !important; }")  # it would cover what is shown
                tabs[window] = tab
            tab = tabs[window]
            top, end = tab.locator(first).bounding_box(), tab.locator(last).bounding_box()
            if top is None or end is None:
                raise SystemExit(f"{page} shows no {first if top is None else last}, which {name}.png is to be of.")
            left = max(0.0, top["x"] - MARGIN)
            bottom = end["y"] + end["height"] + MARGIN
            clip = {
                "x": left, "y": top["y"], "width": min(width - left, top["width"] + 2 * MARGIN),
                "height": bottom - top["y"],
            }  # fmt: skip
            files.append(folder / f"{name}.png")
            tab.screenshot(path=files[-1], clip=clip, full_page=True)
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, and the screenshots if a folder is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", type=Path, default=FOLDER, dest="source", metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, metavar="FOLDER")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    asked = parser.parse_args(arguments)
    if not write_page(asked.page, asked.source):
        raise SystemExit(f"There are no sweeps in {asked.source}. Run: python -m benchmarks.example_sweeps --help")
    print(asked.page)
    for file in [] if asked.images is None else shoot(asked.page, asked.images, scheme=asked.scheme):
        print(file)


if __name__ == "__main__":
    main()
