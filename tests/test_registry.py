"""Registered kernels: found by their entry points, asked for what they declare, left out if they can't be loaded."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from tunedb import registry
from tunedb.core.declaration import Argument, Demo
from tunedb.errors import SettingError


class Bare:
    """A registered kernel that declares nothing."""

    def problem(self, arguments: object) -> None: ...
    def workload(self, problem: object, index: int) -> None: ...


class Declaring(Bare):
    """One that declares all there is."""

    arguments = (Argument("columns", "int"),)
    gradient = "mine_grad"
    demo = Demo(lambda free_bytes: {}, "")


BARE, DECLARING = Bare(), Declaring()
HERE = "tests.test_registry"


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three kernels, and one whose module is missing."""
    values = {
        "broken": "tests.nowhere:K",
        "bare": f"{HERE}:BARE",
        "mine": f"{HERE}:DECLARING",
        "mine_grad": f"{HERE}:BARE",
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
