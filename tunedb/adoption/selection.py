"""Which kernels are to be adopted: the patterns of each `adopt()` that is in force."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tunedb.errors import SettingError

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Patterns = str | Iterable[str] | None


class Selection:
    """The kernels that one `adopt()` asks for, by patterns of their modules and names."""

    def __init__(self, only: Patterns, skip: Patterns, *, children: bool = True) -> None:
        self.children = children  # whether it is for child processes too
        self._only = None if only is None else _listed("only", only)
        self._skip = () if skip is None else _listed("skip", skip)

    @property
    def patterns(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """The patterns `only` and `skip`."""
        return self._only, self._skip

    def includes(self, module: str, name: str) -> bool:
        """Say whether a kernel of that module and that full name is asked for."""
        is_asked_for = self._only is None or _fits(self._only, module, name)
        return is_asked_for and not _fits(self._skip, module, name)


# The selections in force, in the order in which they were made. A kernel is adopted if any of them includes it.
in_force: list[Selection] = []


def is_selected(module: str, name: str) -> bool:
    """Say whether any selection in force includes a kernel."""
    return any(selection.includes(module, name) for selection in list(in_force))


def _listed(argument: str, patterns: str | Iterable[str]) -> tuple[str, ...]:
    is_one = isinstance(patterns, str) or not hasattr(patterns, "__iter__")
    listed: tuple[Any, ...] = (patterns,) if is_one else tuple(patterns)
    for pattern in listed:
        if not isinstance(pattern, str) or not pattern:
            raise SettingError(
                f"adopt: {argument}: expected a pattern such as 'fla.*', or a list of patterns, got {pattern!r}."
            )
    return listed


def _fits(patterns: tuple[str, ...], module: str, name: str) -> bool:
    return any(
        fnmatchcase(module, pattern) or fnmatchcase(name, pattern) or pattern == f"{module}.*" for pattern in patterns
    )
