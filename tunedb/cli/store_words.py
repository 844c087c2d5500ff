"""The store that a command is about, in words: for messages, and for commands to type next."""

from __future__ import annotations

import shlex

from tunedb import settings
from tunedb._internal.redact import without_password


def store_url(*, fleet: bool) -> str:
    """Return the URL of the store that a command reads: with `fleet` the shared one, unless --store names another."""
    current = settings.current()
    is_named = current.sources["store"] == "argument"  # --store
    return current.shared if fleet and current.shared and not is_named else current.store


def layer(*, fleet: bool) -> str:
    """Return the layer that `reading` reads: `local` or `shared`."""
    current = settings.current()
    return "shared" if fleet and current.shared and store_url(fleet=True) == current.shared else "local"


def printable_store(*, fleet: bool = False) -> str:
    """Return where the store is, for a message."""
    return without_password(store_url(fleet=fleet))


def store_option() -> str:
    """Return ` --store ...` as this command was given it, quoted for a shell; empty if the settings name it.

    A URL with a password is not printed: the user sets `URL`.
    """
    if settings.current().sources["store"] != "argument":
        return ""
    url = printable_store()
    return ' --store "$URL"' if "***" in url else f" --store {shlex.quote(url)}"
