"""Commands for messages of a store's parts, with the store that they are about. Loads nothing."""

from __future__ import annotations

import shlex

MASK = "***"  # the place of a password in a printable URL


def about(command: str, url: str) -> str:
    """Return a command on the store of this printable URL, quoted for a shell; the user sets `URL` if it is masked."""
    return f'{command} --store "$URL"' if MASK in url else f"{command} --store {shlex.quote(url)}"
