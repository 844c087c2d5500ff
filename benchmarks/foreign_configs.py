"""Counts what `tunedb import --as-hints` reads of other tools' files: python -m benchmarks.foreign_configs FOLDER|WHEEL

For a wheel, or the folder of an installed package, it prints how many names have one of the grammars, how many of these
files are read without a rejection, their entries, and which devices are not in the table of labels. Nothing is stored,
and no code of the package runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunedb.core.known_devices import known_device
from tunedb.store.exchange.foreign.entry import Entry
from tunedb.store.exchange.foreign.file_name import kind_of, parse_name
from tunedb.store.exchange.foreign.reading import read, reader_of


def counted(folder: Path) -> dict[str, Any]:
    """Return the counts of a folder."""
    names, whole, entries, unknown = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    rejected = []
    for path in sorted(folder.rglob("*.json")):
        if reader_of(path) is None:
            continue
        kind = kind_of_file(path)
        names[kind] += 1
        found = list(read(path))
        good = [one for one in found if isinstance(one, Entry)]
        bad = [f"{one.place.removeprefix(f'{folder}/')}: {one.reason}" for one in found if not isinstance(one, Entry)]
        whole[kind] += not bad
        rejected += bad
        entries[kind] += len(good)
        unknown.update({one.device for one in good if one.device is not None and known_device(one.device) is None})
    return {
        "names": dict(sorted(names.items())),
        "read_whole": dict(sorted(whole.items())),
        "entries": dict(sorted(entries.items())),
        "all_entries": entries.total(),
        "unknown_devices": dict(sorted(unknown.items())),
        "rejected": rejected,
    }


def kind_of_file(path: Path) -> str:
    """Return what the name of a file is for, or `other form`."""
    try:
        return kind_of(parse_name(path.name))
    except ValueError:
        return "other form"


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """Yield a folder with the JSON files of a wheel, or the folder itself."""
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(source) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.endswith(".json")])
        yield Path(folder)


def main() -> None:
    """Count what is named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("source", type=Path, nargs="+", metavar="FOLDER|WHEEL")
    for source in parser.parse_args().source:
        with unpacked(source) as folder:
            print(json.dumps({"source": source.name, **counted(folder)}, indent=2))


if __name__ == "__main__":
    main()
