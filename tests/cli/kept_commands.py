"""Commands that typer put together once and keeps: that takes longer than most commands on a small store."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from tunedb.cli import application
from tunedb.cli.command import REGISTERED

_apps: dict[object, typer.Typer] = {}
_groups: dict[int, Any] = {}  # by the app's id, which stays its own: the app is kept too
_get_command = typer.main.get_command


def keep_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands of this process kept: one for each kernel, with its arguments and the installed kernels."""
    monkeypatch.setattr("tunedb.cli.make_app", _make_app)
    monkeypatch.setattr("typer.main.get_command", _command_of)


def _make_app(kernel: Any = None, arguments: Any = (), *, installed: Any = (), only: Any = None) -> typer.Typer:
    function = REGISTERED[only].function if only in REGISTERED else None
    key = kernel, tuple(arguments), tuple(installed), only, function
    if key not in _apps:
        _apps[key] = application.make_app(kernel, arguments, installed=installed, only=only)
    return _apps[key]


def _command_of(app: typer.Typer) -> Any:
    if app not in _apps.values():
        return _get_command(app)
    if id(app) not in _groups:
        _groups[id(app)] = _get_command(app)
    return _groups[id(app)]
