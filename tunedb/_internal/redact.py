"""Passwords in URLs, left out of what is printed and logged."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SECRET_FIELDS = ("password", "passwd", "sslpassword")  # of a URL's query, as drivers of PostgreSQL name them


def without_password(url: str) -> str:
    """Return the URL with `***` in the place of each password: in `user:secret@`, and in the query.

    A character that can't be encoded (a lone surrogate, from a path that is not UTF-8) becomes an escape.
    """
    url = url.encode(errors="backslashreplace").decode()
    url = re.sub(r"(://[^:@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    before, mark, query = url.partition("?")
    if not mark or "://" not in before:
        return url
    return f"{before}?{'&'.join(map(_without_secret, query.split('&')))}"


def _without_secret(field: str) -> str:
    name = field.partition("=")[0]
    return f"{name}=***" if unquote(name).lower() in _SECRET_FIELDS else field


def without_passwords(text: str) -> str:
    """Return a message with the passwords of its URLs left out; a URL ends at the next blank."""
    return re.sub(r"\S*://\S*", lambda url: without_password(url[0]), text)
