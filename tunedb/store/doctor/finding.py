"""Findings of `tunedb doctor`, and how a check that fails becomes one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, ParamSpec

from tunedb._internal.redact import without_password
from tunedb.errors import TunedbError

Status = Literal["ok", "warn", "bad", "skipped"]
_Asked = ParamSpec("_Asked")


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's finding, and the command or step that fixes it: empty if there is nothing to fix."""

    check: str
    status: Status
    found: str
    fix: str = ""


class Verdict(NamedTuple):
    """A finding without the name of its check."""

    status: Status
    found: str
    fix: str = ""


def ok(found: str) -> Verdict:
    """Return the verdict that nothing is wrong."""
    return Verdict("ok", found)


def warn(found: str, fix: str) -> Verdict:
    """Return the verdict that calls work, but not as well as they could."""
    return Verdict("warn", found, fix)


def bad(found: str, fix: str) -> Verdict:
    """Return the verdict that something does not work."""
    return Verdict("bad", found, fix)


def failed(check: str, error: Exception) -> Finding:
    """Return the finding of a check that raised. The last sentence of our own messages says what to do."""
    text = " ".join(str(error).split())
    if not isinstance(error, TunedbError):
        message = f"{type(error).__name__}: {without_password(text)}"
        return Finding(check, "bad", message, "Fix what it names, or report it")
    for mark in (" Run: ", ". "):
        found, separator, fix = text.rpartition(mark)
        if separator:
            return Finding(check, "bad", found.rstrip("."), fix)
    return Finding(check, "bad", text)


def check(name: str) -> Callable[[Callable[_Asked, Verdict]], Callable[_Asked, Finding]]:
    """Name a check, and turn what it raises into a finding: the doctor always answers."""

    def named(look: Callable[_Asked, Verdict]) -> Callable[_Asked, Finding]:
        @functools.wraps(look)
        def looked(*args: _Asked.args, **kwargs: _Asked.kwargs) -> Finding:
            try:
                status, found, fix = look(*args, **kwargs)
            except Exception as error:  # the border of the doctor, which never raises
                return failed(name, error)
            return Finding(name, status, found, fix)

        return looked

    return named
