"""The cache of parsed sources: hashes stay the same, whatever its file holds and if other processes write it."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tunedb
from tests.architecture.imports import imported_names
from tests.core.test_source_hash import SOURCE, load
from tunedb.core import source_cache, source_hash, source_text
from tunedb.core.source_cache import SourceCache
from tunedb.core.source_skeleton import Reads
from tunedb.core.source_text import HashUnavailable

KEY, OTHER = "0" * 64, "1" * 64
PLAIN = """
import math

FACTOR = 2
twice, thrice = lambda n: n * 2, lambda n: n * 3

def halved(n):
    return n // 2

def launch(n):
    import os.path as where
    return halved(n) * FACTOR + math.gcd(n, 16) + twice(n), where.sep
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the cache."""
    tunedb.configure(cache=tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def no_parsing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that lets nothing be parsed from then on."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a text was parsed")

    return lambda: monkeypatch.setattr(ast, "parse", refuse)


def new_process() -> None:
    """Write the file, and forget what is in memory."""
    source_cache.active().write()
    source_cache._cache = None
    source_text._source_of_text.cache_clear()
    for table in (source_text._in_files, source_text._texts, source_text._files):
        table.clear()


def hashes_of(module: ModuleType) -> list[str]:
    """The hash of each function in a module."""
    functions = [value for value in vars(module).values() if source_hash._function(value) is not None]
    assert len(functions) > 3
    return [source_hash.kernel_hash(function) for function in functions]


def entry_in(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def write_with_digest(file: Path, content: bytes) -> None:
    file.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


@pytest.mark.parametrize("source", [SOURCE, PLAIN], ids=["jit", "plain"])
def test_hashes_are_those_without_a_cache_and_a_second_process_parses_nothing(
    tmp_path: Path, folder: Path, no_parsing: Callable[[], None], source: str
) -> None:
    module = load(tmp_path, source)
    with tunedb.using(cache="off"):
        expected = hashes_of(module)
    new_process()
    assert hashes_of(module) == expected
    new_process()
    no_parsing()
    assert hashes_of(module) == expected


def test_the_pooling_kernels_hashes_are_those_without_a_cache(folder: Path, no_parsing: Callable[[], None]) -> None:
    from tunedb.kernels.avg_pool import tunable

    expected = [tunable._hash(backward) for backward in (False, True)]
    new_process()
    assert [tunable._hash(backward) for backward in (False, True)] == expected
    new_process()
    no_parsing()
    assert [tunable._hash(backward) for backward in (False, True)] == expected


def test_what_globals_hold_is_looked_at_each_time(tmp_path: Path, folder: Path) -> None:
    module = load(tmp_path, SOURCE)
    seen = []
    for scale, helper in ((2, module.helper), (3, module.helper), (2, module.cached)):
        module.SCALE, module.helper = scale, helper
        new_process()
        seen.append(source_hash.kernel_hash(module.kernel))
        with tunedb.using(cache="off"):
            assert source_hash.kernel_hash(module.kernel) == seen[-1]
    assert len(set(seen)) == 3


def test_lambdas_of_one_line_are_two(tmp_path: Path, folder: Path) -> None:
    module = load(tmp_path, PLAIN)
    for _ in range(2):
        new_process()
        assert source_hash.kernel_hash(module.twice) != source_hash.kernel_hash(module.thrice)


def test_a_file_that_was_edited_after_the_import_makes_no_hash(tmp_path: Path, folder: Path) -> None:
    module = load(tmp_path, PLAIN)
    source_hash.kernel_hash(module.launch)
    new_process()
    Path(str(module.__file__)).write_text(PLAIN.replace("n // 2", "n // 3"))
    with pytest.raises(HashUnavailable, match="restart the program"):
        source_hash.kernel_hash(module.halved)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "a changed letter": lambda file: file.write_bytes(file.read_bytes().replace(b"halved", b"halfed")),
    "no JSON": lambda file: write_with_digest(file, b"{"),
    "other JSON": lambda file: write_with_digest(file, b'{"reads": 1}'),
    "other entries": lambda file: write_with_digest(file, _odd_entries(file)),
    "nested": lambda file: write_with_digest(file, b"[" * 100_000),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a link": lambda file: (file.rename(file.parent.parent / "elsewhere"), file.symlink_to("../elsewhere")),
    "too large": lambda file: os.truncate(file, source_cache.MAX_BYTES + 1),
}


def _odd_entries(file: Path) -> bytes:
    tables = json.loads(file.read_bytes().partition(b"\n")[2])
    return json.dumps({name: dict.fromkeys(table, 7) for name, table in tables.items()}).encode()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_changes_no_hash(tmp_path: Path, folder: Path, damage: str) -> None:
    module = load(tmp_path, PLAIN)
    expected = hashes_of(module)
    new_process()
    DAMAGES[damage](entry_in(folder))
    assert hashes_of(module) == expected
    new_process()


def test_entries_that_others_may_have_planted_are_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plant() -> SourceCache:
        planted = SourceCache(str(folder))
        planted.put_hash(KEY, "planted")
        planted.write()
        return SourceCache(str(folder))

    assert plant().get_hash(KEY) == "planted"
    folder.chmod(0o770)
    assert SourceCache(str(folder)).get_hash(KEY) is None
    folder.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert SourceCache(str(folder)).get_hash(KEY) is None


def test_a_folder_that_can_not_be_made_keeps_nothing_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "cache", Path("/proc/none"), Path("nul\0")):
        cache = SourceCache(str(path))
        cache.put_hash(KEY, "hash")
        assert cache.write() is False
        assert cache.get_hash(KEY) == "hash"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_processes_that_write_at_once_keep_what_each_has_found(folder: Path) -> None:
    first, second = SourceCache(str(folder)), SourceCache(str(folder))
    first.put_hash(KEY, "one")
    second.put_hash(OTHER, "two")
    second.put_reads(KEY, Reads((("tl", "load"), ("x",)), {"y": ("os", 0, None)}))
    first.write()
    second.write()
    later = SourceCache(str(folder))
    assert (later.get_hash(KEY), later.get_hash(OTHER)) == ("one", "two")
    assert later.get_reads(KEY) == Reads((("tl", "load"), ("x",)), {"y": ("os", 0, None)})
    assert entry_in(folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_file_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_cache, "MAX_ENTRIES", 4)
    for number in range(6):
        cache = SourceCache(str(folder))
        cache.get_hash("0")  # in use, so it stays
        cache.put_hash(str(number), "hash")
        cache.write()
    later = SourceCache(str(folder))
    assert [number for number in range(6) if later.get_hash(str(number))] == [0, 3, 4, 5]
    monkeypatch.setattr(source_cache, "MAX_BYTES", 1000)
    later.put_hash("6", "long" * 200)
    later.put_hash("7", "long" * 200)
    later.write()
    assert entry_in(folder).stat().st_size <= 1000
    assert SourceCache(str(folder)).get_hash("7")


def test_files_of_other_versions_and_of_killed_writers_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        monkeypatch.setattr(source_cache, "_version", lambda number=number: f"version{number}")
        cache = SourceCache(str(folder))
        cache.put_hash(KEY, "hash")
        cache.write()
        os.utime(folder / f"tunedb-source-version{number}", (number, number))
    assert {file.name for file in folder.iterdir()} == {f"tunedb-source-version{number}" for number in range(12, 20)}


def test_files_of_the_user_s_in_the_folder_stay(folder: Path) -> None:
    folder.mkdir()
    for number in range(20):
        (folder / f"source-{number}").touch()
    cache = SourceCache(str(folder))
    cache.put_hash(KEY, "hash")
    cache.write()
    assert len(list(folder.iterdir())) == 21


def test_a_text_that_can_not_be_read_any_deeper_in_the_stack_makes_no_hash(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(tmp_path, PLAIN)
    source_hash.kernel_hash(module.launch)
    source_cache.active()._used["hashes"].clear()
    new_process()

    def refuse(*_: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(source_text, "skeleton_of", refuse)
    with pytest.raises(HashUnavailable, match="RecursionError"):
        source_hash.kernel_hash(module.launch)


def test_all_code_that_decides_an_entry_is_in_the_files_name() -> None:
    imported = set()
    for name in ("source_text", "source_skeleton", "source_cache"):
        tree = ast.parse(Path(source_cache.__file__).with_name(f"{name}.py").read_text())
        imported |= {name, *re.findall(r"tunedb\.core\.(\w+)", " ".join(imported_names(f"core/{name}.py", tree)))}
    imported.remove("jit_function")  # it returns the text, which is in the key
    assert imported | {"source_content"} == set(source_cache.DECISIVE)


def test_a_process_leaves_what_it_found_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "edited.py").write_text(PLAIN)
    program = "import ast\nif {}: ast.parse = None\nfrom edited import launch\n"
    program += "from tunedb.core.source_hash import kernel_hash\nprint(kernel_hash(launch))"
    environment = os.environ | {
        "TUNEDB_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])
    }  # fmt: skip
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program.format(is_second)], env=environment, check=True, capture_output=True,
            text=True,
        ).stdout
        for is_second in (False, True)
    )  # fmt: skip
    assert len(first.strip()) == 64
    assert first == second
