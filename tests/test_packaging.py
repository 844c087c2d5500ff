"""What an install brings: one version, and nothing but `tunedb` on the path."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from email import message_from_string
from pathlib import Path

import pytest

import tunedb

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
in_a_checkout = pytest.mark.skipif(
    not (ROOT / "src" / "tunedb").is_symlink(), reason="an unpacked source distribution has folders instead of links"
)


def test_the_version_that_is_built_is_the_one_that_the_package_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "src" / "tunedb").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "src/tunedb/__init__.py"):
        shutil.copy(ROOT / name, source / name)
    program = "from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel('..'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metadata = message_from_string((tmp_path / done.stdout.splitlines()[-1] / "METADATA").read_text())
    assert metadata["Version"] == tunedb.__version__
    assert "version" not in PROJECT


def test_the_changelog_begins_with_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == tunedb.__version__


@in_a_checkout
def test_an_editable_install_puts_nothing_but_tunedb_on_the_path() -> None:
    ignored = {"__pycache__", "tunedb.egg-info"}
    assert [path.name for path in (ROOT / "src").iterdir() if path.name not in ignored] == ["tunedb"]
    assert (ROOT / "src" / "tunedb").resolve() == ROOT / "tunedb"


def test_a_file_outside_of_the_packages_is_in_a_wheel_too() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tunedb"]
    shipped = {path for pattern in patterns for path in (ROOT / "tunedb").glob(pattern)}
    folders = {path.parent for path in (ROOT / "tunedb").rglob("*.py")}
    outside = {path for folder in folders if not (folder / "__init__.py").exists() for path in folder.glob("*.py")}
    assert outside == {ROOT / "tunedb" / "adoption" / "site_hook" / "sitecustomize.py"}
    assert outside <= shipped
