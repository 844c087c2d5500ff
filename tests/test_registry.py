"""Registered kernels: found by their entry points, asked for what they declare, left out if they can't be loaded."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import Distribution, DistributionFinder, EntryPoint, EntryPoints
from pathlib import Path

import pytest

from tunedb import registry
from tunedb.core.declaration import Argument, Demo
from tunedb.errors import SettingError


class Bare:
    """A registered kernel that declares nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def problem(self, arguments: object) -> None: ...
    def workload(self, problem: object, index: int) -> None: ...


class Declaring(Bare):
    """One that declares all there is."""

    arguments = (Argument("columns", "int"),)
    gradient = "mine_grad"
    demo = Demo(lambda free_bytes: {}, "")


BARE, GRADIENT, DECLARING = Bare("bare"), Bare("mine_grad"), Declaring("mine")
HERE = "tests.test_registry"


class Late(DistributionFinder):
    """A finder that finds a package with a kernel."""

    def find_distributions(self, context: object = None) -> Iterator[Distribution]:
        yield Found()

    def find_spec(self, *_: object) -> None: ...


class Found(Distribution):
    """That package."""

    def read_text(self, filename: str) -> str | None:
        texts = {"METADATA": "Name: found\n", "entry_points.txt": f"[{registry.GROUP}]\nfound = {HERE}:BARE\n"}
        return texts.get(filename)

    def locate_file(self, path: object) -> Path:
        raise AssertionError("only its metadata is read, it has no files")  # a distribution has to have this method


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three kernels, and one whose module is missing."""
    values = {
        "broken": "tests.nowhere:K",
        "bare": f"{HERE}:BARE",
        "mine": f"{HERE}:DECLARING",
        "mine_grad": f"{HERE}:GRADIENT",
    }
    points = EntryPoints([EntryPoint(name, value, registry.GROUP) for name, value in values.items()])
    monkeypatch.setattr(registry, "entry_points", lambda **asked: points.select(**asked))


def test_installed_packages_are_read_again_if_one_came_or_went(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reads = []
    real = metadata.entry_points
    monkeypatch.setattr(metadata, "entry_points", lambda **asked: reads.append(asked) or real(**asked))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "nowhere")])
    monkeypatch.chdir(tmp_path)
    assert [registry.kernel_names() for _ in range(2)] == [[], []]
    assert len(reads) == 1
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nlate = {HERE}:BARE\n")
    os.utime(tmp_path, (1.0, 1.0))  # the clock of a file system is coarse
    assert registry.kernel_names() == ["late"]
    shutil.rmtree(info)
    os.utime(tmp_path, (2.0, 2.0))
    assert registry.kernel_names() == []
    assert len(reads) == 3
    monkeypatch.setattr(sys, "meta_path", [Late(), *sys.meta_path])
    assert registry.kernel_names() == ["found"]


def test_a_current_folder_that_is_gone_has_no_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = registry.kernel_names()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert registry.kernel_names() == before


@pytest.mark.usefixtures("entries")
def test_a_kernel_is_found_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    assert registry.kernel_names() == ["bare", "broken", "mine", "mine_grad"]
    assert registry.kernel_named("mine") is DECLARING
    assert set(registry.installed(["mine", "broken", "absent"])) == {"mine"}
    assert "broken is installed, but can't be used" in caplog.text
    with pytest.raises(SettingError, match=r"No kernel is called 'absent'. Installed kernels: bare, broken"):
        registry.kernel_named("absent")


@pytest.mark.usefixtures("entries")
def test_what_is_declared_is_optional() -> None:
    assert registry.arguments_of(DECLARING) == Declaring.arguments
    assert registry.gradient_of(DECLARING) == "mine_grad"
    assert (registry.arguments_of(BARE), registry.gradient_of(BARE)) == ((), None)
    assert registry.gradient_names() == {"mine_grad"}
    assert registry.demo_kernel() == ("mine", Declaring.demo)
    assert registry.kernel_with(["columns"]) == "mine"


def test_a_kernel_of_another_name_than_its_entry_point_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mis_named", f"{HERE}:DECLARING", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda **asked: points.select(**asked))
    with pytest.raises(SettingError, match=r"mis_named: a package registers .* the kernel's name is 'mine'"):
        registry.kernel_named("mis_named")
    assert registry.installed(["mis_named"]) == {}


def test_two_packages_with_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package, value in (("first", "BARE"), ("second", "DECLARING")):
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nbare = {HERE}:{value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingError, match=r"the package first \(.*BARE\); the package second \(.*DECLARING\)"):
        registry.kernel_named("bare")
    assert "bare" in registry.kernel_names()


class Refusing:
    """Something of another package that raises for each of its attributes."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")


class Undeclared(Bare):
    """A kernel whose arguments are something else."""

    arguments = 5


BROKEN = {
    "exits": "import sys; sys.exit('bye')",
    "ends_well": "import sys; sys.exit(0)",
    "recursive": "def call(): call()\ncall()",
    "unparsed": "def call(:",
    "refusing": "from tests.test_registry import Refusing; K = Refusing()",
    "undeclared": "from tests.test_registry import Undeclared; K = Undeclared('undeclared')",
    "misdeclared": "from tests.test_registry import Bare; K = Bare('misdeclared'); K.arguments = ('columns',)",
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of BROKEN, and one that is sound."""
    for name, source in BROKEN.items():
        (tmp_path / f"broken_{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    values = {name: f"broken_{name}:K" for name in BROKEN} | {"bare": f"{HERE}:BARE"}
    points = EntryPoints([EntryPoint(name, value, registry.GROUP) for name, value in values.items()])
    monkeypatch.setattr(registry, "entry_points", lambda **asked: points.select(**asked))


@pytest.mark.usefixtures("broken")
def test_whatever_a_package_does_when_its_kernel_is_loaded_the_others_work(caplog: pytest.LogCaptureFixture) -> None:
    for name in BROKEN:
        with pytest.raises(SettingError, match=f"{name}: its package registers broken_{name}:K"):
            registry.kernel_named(name)
    assert registry.installed([*BROKEN, "bare"]) == {"bare": BARE}
    assert all(f"Kernel {name} is installed, but can't be used" in caplog.text for name in BROKEN)


def test_a_program_that_exits_in_a_signal_handler_while_a_kernel_is_loaded_exits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signalled.py").write_text("import signal; signal.raise_signal(signal.SIGUSR1); K = None")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = EntryPoints([EntryPoint("signalled", "signalled:K", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda **asked: points.select(**asked))
    before = signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(3))
    try:
        with pytest.raises(SystemExit, match="3"):
            registry.kernel_named("signalled")
    finally:
        signal.signal(signal.SIGUSR1, before)
