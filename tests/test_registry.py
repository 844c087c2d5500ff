"""Registered kernels: found by their entry points, asked for what they declare, left out if they can't be loaded."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
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
