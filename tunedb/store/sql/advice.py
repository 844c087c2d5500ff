"""Commands that messages about a store name, written so that they can be pasted into a shell."""

from __future__ import annotations

from tunedb import settings
from tunedb.errors import TunedbError
from tunedb.store.sql.command_text import MASK, about
from tunedb.store.sql.engine import locate


def on_store(command: str, url: str) -> str:
    """Return a command that works on the store of this printable URL.

    A URL whose password is masked can't be pasted: the command then names the variable that holds the whole URL, or
    none if that is what it works on anyway; `URL` is one for the user to set.
    """
    if MASK not in url:
        return about(command, url)
    try:
        current = settings.current()
        for name, option in (("store", ""), ("shared", f' --store "${current.sources["shared"]}"')):
            named = getattr(current, name)
            if named and current.sources[name].startswith("TUNEDB_") and locate(named).url == url:
                return f"{command}{option}"
    except TunedbError:  # a setting or a URL that can't be used, which other messages are about
        pass
    return about(command, url)
