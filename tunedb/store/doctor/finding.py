"""What `tunedb doctor` finds, and how a check that fails becomes a finding itself."""

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
    """What one check found, and the command or the step that mends it: empty where there is nothing to mend."""

    check: str
    status: Status
    found: str
    mend: str = ""


class Verdict(NamedTuple):
    """A finding of which it is known what was checked."""

    status: Status
    found: str
    mend: str = ""


def ok(found: str) -> Verdict:
    """All is well."""
    return Verdict("ok", found)


def warn(found: str, mend: str) -> Verdict:
    """Calls work, but not as they could."""
    return Verdict("warn", found, mend)


def bad(found: str, mend: str) -> Verdict:
    """Something does not work."""
    return Verdict("bad", found, mend)


def failed(check: str, error: Exception) -> Finding:
    """A check that could not be made. The last sentence of our own messages says what to do."""
    text = " ".join(str(error).split())
    if not isinstance(error, TunedbError):
        told = f"{type(error).__name__}: {without_password(text)}"
        return Finding(check, "bad", told, "Mend what it names, or report it")
    for mark in (" Run: ", ". "):
        found, known, mend = text.rpartition(mark)
        if known:
            return Finding(check, "bad", found.rstrip("."), mend)
    return Finding(check, "bad", text)


def check(name: str) -> Callable[[Callable[_Asked, Verdict]], Callable[_Asked, Finding]]:
    """Name a check, and make what it raises a finding: whoever asks what is wrong must get an answer."""

    def named(look: Callable[_Asked, Verdict]) -> Callable[_Asked, Finding]:
        @functools.wraps(look)
        def looked(*args: _Asked.args, **kwargs: _Asked.kwargs) -> Finding:
            try:
                status, found, mend = look(*args, **kwargs)
            except Exception as error:  # the border of the doctor, which never raises
                return failed(name, error)
            return Finding(name, status, found, mend)

        return looked

    return named
