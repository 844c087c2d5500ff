"""A kernel's hash is kept by the content of its files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunedb.core import source_cache
from tunedb.core.source_folder import hash_of_files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files, and a cache that stays in memory."""
    cache = source_cache.SourceCache("off")
    monkeypatch.setattr(source_cache, "active", lambda: cache)
    made = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in made:
        path.write_text("x = 1\n")
    return made


def asked(files: list[Path], answers: list[str], **changes: str) -> str:
    """Ask for the hash; what computes it takes the next of the answers."""
    values = {"module": "not.loaded", "triton": "3.9", **changes}
    return hash_of_files("kernel", files, compute=lambda: answers.pop(0), **values)


def test_it_is_computed_once_for_the_same_files(files: list[Path]) -> None:
    answers = ["one", "two", "three", "four", "five"]
    assert [asked(files, answers), asked(files, answers), asked(files[::-1], answers)] == ["one"] * 3
    files[1].write_text("x = 2\n")
    assert asked(files, answers) == "two"
    files[1].write_text("x = 1\n")
    assert asked(files, answers) == "one"
    assert asked(files, answers, triton="3.8") == "three"
    assert hash_of_files("other", files, module="x", triton="3.9", compute=lambda: answers.pop(0)) == "four"


def test_code_that_is_loaded_can_have_been_replaced_and_is_hashed(files: list[Path]) -> None:
    answers = ["one", "two", "three"]
    assert asked(files, answers) == "one"
    loaded = next(iter(sys.modules))
    assert [asked(files, answers, module=loaded), asked(files, answers, module=loaded)] == ["two", "three"]


def test_files_that_can_not_be_read_are_no_error(files: list[Path], tmp_path: Path) -> None:
    assert asked([*files, tmp_path / "absent.py"], ["one"]) == "one"
