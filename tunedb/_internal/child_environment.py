"""The environment in which child processes adopt kernels too: a folder in PYTHONPATH, and a variable with the options.

`tunedb run` imports this file before each program, so it loads little.
"""

from __future__ import annotations

import os
import sys

from tunedb.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

VARIABLE = "_TUNEDB_ADOPT"  # holds a dict as Python writes it: reading and writing JSON loads more
PATH = "PYTHONPATH"
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "adoption", "site_hook")

_before: dict[str, str | None] | None = None  # the two variables, while `reach_children` has changed them
_set_by_us: dict[str, str] = {}


def environment_with(options: Mapping[str, Any]) -> dict[str, str]:
    """Return this process's environment with the two variables, for Pythons that are to adopt kernels.

    options: what `process.begin` reads. Raises SettingError if PYTHONPATH can't hold our folder.
    """
    if os.pathsep in FOLDER:
        raise SettingError(f"PYTHONPATH can't hold the folder {FOLDER}, because of its {os.pathsep!r}.")
    path = os.environ.get(PATH)
    entries = [] if not path else [entry for entry in path.split(os.pathsep) if entry != FOLDER]
    variables = {PATH: os.pathsep.join([FOLDER, *entries]), VARIABLE: ascii({**options, "prefix": sys.prefix})}
    return dict(os.environ) | variables


def environment_without() -> dict[str, str]:
    """Return this process's environment, changed so that processes of tunedb itself adopt nothing."""
    return {name: value for name, value in os.environ.items() if name != VARIABLE}


def options() -> dict[str, Any]:
    """Return the options with which the parent process had this one adopt kernels; none if it had not.

    What another version of tunedb wrote, and this one can't read, counts as none.
    """
    import ast  # both here: a program is run without them

    from tunedb._internal.control import let_pass

    text = os.environ.get(VARIABLE) if _before is None else _before[VARIABLE]
    try:
        read: Any = ast.literal_eval(text or "{}")
    except (SyntaxError, ValueError) as error:
        let_pass(error)
        return {}
    is_known = isinstance(read, dict) and isinstance(read.get("selections", []), list)
    return read if is_known else {}


def reach_children(selections: Sequence[tuple[Any, Any]]) -> None:
    """Have child processes adopt what these selections name, and what this process was started with; none ends it.

    selections: the patterns `only` and `skip` of each. Raises SettingError.
    """
    global _before
    if _before is not None:
        _put_back(_before)
        _before = None
    if not selections:
        return
    own = options()
    changed = environment_with({**own, "selections": [*own.get("selections", ()), *selections]})
    _before = {name: os.environ.get(name) for name in (PATH, VARIABLE)}
    _set_by_us.update({name: changed[name] for name in _before})
    os.environ.update(_set_by_us)


def _put_back(before: Mapping[str, str | None]) -> None:
    """Give the two variables their values of before. What the program added to PYTHONPATH meanwhile stays there."""
    for name, value in before.items():
        if os.environ.get(name) == _set_by_us[name]:
            _set(name, value)
    path, had = os.environ.get(PATH, ""), before[PATH] or ""
    if FOLDER in path.split(os.pathsep) and FOLDER not in had.split(os.pathsep):
        _set(PATH, os.pathsep.join(entry for entry in path.split(os.pathsep) if entry != FOLDER))


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
