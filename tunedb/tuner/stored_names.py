"""Names that people type of what a store has: kernels with or without their module, and hints for mistyped ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from tunedb.core.device import Device
from tunedb.errors import AmbiguousName, SettingError

MAX_NAMES = 20  # that a message lists


def with_module(typed: str, stored: Iterable[str]) -> str | None:
    """Return the only stored name that ends like this, after a dot; None if none does.

    Raises AmbiguousName if several do.
    """
    names = sorted(name for name in set(stored) if name.endswith(f".{typed}"))
    if len(names) > 1:
        raise AmbiguousName(f"Several stored kernels are called {typed!r}. Name one: {', '.join(names)}.")
    return names[0] if names else None


def among(typed: Iterable[str], stored: Iterable[str]) -> list[str]:
    """Return the stored names that are meant, without those that nothing stored has. Raises if several fit one."""
    stored = set(stored)
    meant = (name if name in stored else with_module(name, stored) for name in typed)
    return list(dict.fromkeys(name for name in meant if name is not None))


def check_stored(typed: Iterable[str], stored: Iterable[str], place: str = "") -> None:
    """Raise SettingError for names of kernels that nothing stored has, with those that are alike and those stored."""
    stored = sorted(set(stored))
    unknown = [name for name in dict.fromkeys(typed) if not among([name], stored)]
    if unknown:
        hints = "".join(alike(name, stored) for name in unknown)
        more = f" and {len(stored) - MAX_NAMES} more" if len(stored) > MAX_NAMES else ""
        raise SettingError(
            f"Nothing is stored for {', '.join(unknown)}{place}.{hints} "
            f"Stored kernels: {', '.join(stored[:MAX_NAMES]) or 'none'}{more}."
        )


def no_facts(kernel: str | None, names: Iterable[str], stored: Iterable[str]) -> str:
    """Return a sentence about facts that no stored problem has, of a kernel or at all; with those that are stored."""
    names, stored = list(names), sorted(set(stored))
    hints = "".join(dict.fromkeys(_alike_fact(name, stored) for name in names))
    more = f" and {len(stored) - MAX_NAMES} more" if len(stored) > MAX_NAMES else ""
    which = "No stored problem has a fact" if kernel is None else f"{kernel} has no fact"
    return f"{which} {', '.join(names)}.{hints} Facts: {', '.join(stored[:MAX_NAMES]) or 'none'}{more}."


def _alike_fact(typed: str, stored: Iterable[str]) -> str:
    """Return a question that names what may be meant: a fact that is the same without its punctuation comes alone."""
    same = [name for name in stored if _letters(name) == _letters(typed)]
    return alike(typed, same or stored)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def no_device(typed: str, stored: Iterable[Device]) -> str:
    """Return a sentence that says that no stored device is called so, with those that are."""
    names = sorted({device.name for device in stored})
    return f"No stored device is called {typed!r}.{alike(typed, names)} Stored devices: {', '.join(names) or 'none'}."


def alike(typed: str, names: Iterable[str]) -> str:
    """Return a question that names what may be meant, with a blank before it; empty if nothing is alike."""
    names = list(names)
    by_text = {part.casefold(): name for name in names for part in (*name.split(), name.rpartition(".")[2], name)}
    matches = dict.fromkeys(by_text[text] for text in get_close_matches(typed.casefold(), by_text, n=3))
    return f" Did you mean {', '.join(matches)}?" if matches else ""
