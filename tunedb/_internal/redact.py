"""Passwords in URLs and in libpq's connection strings, left out of what is printed, logged, raised and named.

The fields that are shown are listed, not those that are hidden: a driver may learn a new secret option, and a part of a
password that was not escaped may look like a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of PostgreSQL's connection options, those that hold no secret:
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_SHOWN = _words(
    """host hostaddr port dbname user sslmode sslnegotiation sslrootcert sslcert sslcrl sslsni connect_timeout
    client_encoding application_name fallback_application_name keepalives keepalives_idle keepalives_interval
    keepalives_count tcp_user_timeout target_session_attrs load_balance_hosts gssencmode krbsrvname gsslib
    channel_binding require_auth requirepeer service servicefile replication"""
)
_HIDDEN = _words("password passwd sslpassword options passfile sslkey oauth_client_id oauth_client_secret")
_SCHEMES = r"(?:postgres(?:ql)?|pg|psql|mysql|mariadb|oracle|mssql|redis|mongodb|https?|sqlite)(?:\+\w+)?"
_MAX_SHORT = 3  # characters: a secret that is no longer is masked only where it is a word, as others may contain it

_SECRET = r"(?:(?:ssl|pg)?password|passwd|pwd|oauth_client_secret)"  # other drivers part their pairs by `;`
_CONNINFO = re.compile(rf"^\s*(?:{'|'.join(sorted(_SHOWN | _HIDDEN))})\s*=|(?:^|[\s;]){_SECRET}\s*=", re.IGNORECASE)
_NO_SLASHES = re.compile(
    rf"\s*(?:{_SCHEMES}|file)\s*:(?!//)|\s*{_SCHEMES}(?://|%3a|\?)|[^/\s:]+:\S*@[\w.\-\[%]", re.IGNORECASE
)
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)", re.DOTALL)
_USERINFO = re.compile(r"(://[^:/@]*?)(?:(?::|%3[aA])([^@]*))?@")  # as SQLAlchemy reads it; or escaped as a whole
_IS_FILE = re.compile(r"sqlite(?:\+\w+)?:///", re.IGNORECASE)
_NO_HOST = re.compile(r"(://[^:@/?\[]*):(?!\d*(?:[/?]|$)).*", re.DOTALL)  # what follows is a password, not a port
_URL_IN_TEXT = re.compile(rf"\S*://\S*|\b{_SCHEMES}:?/\S*|[^\s:]+:\S*@[\w.\-\[%]\S*", re.IGNORECASE)
_IN_TEXT = re.compile(
    rf"(\b{_SECRET}\s*=\s*)('(?:[^'\\]|\\.|'')*'|\"[^\"]*\"|(?:[^\s&;\\]|\\.)+)", re.IGNORECASE | re.DOTALL
)


def without_password(url: str) -> str:
    """Return a URL, or what may be meant as one, with `***` in the place of each password and each unknown option.

    A character that can't be encoded (a lone surrogate, from a path that is not UTF-8) becomes an escape.
    """
    url = url.encode(errors="backslashreplace").decode()
    if is_ambiguous(url):
        return f"{url.partition('://')[0]}://***"
    if "://" in url:
        url = _USERINFO.sub(_shown_userinfo, url, count=1) if "@" in url else _NO_HOST.sub(r"\1:***", url)
        before, mark, query = url.partition("?")
        shown = f"{before}?{'&'.join(map(_shown_field, query.split('&')))}" if mark else url
        return shown if _IS_FILE.match(url) else _IN_TEXT.sub(r"\1***", shown)
    if _CONNINFO.search(url):  # the pairs alone: a password with a blank that was not quoted goes on between them
        return " ".join(f"{name}={_shown_value(name, value)}" for name, value in _PAIR.findall(url))
    if _NO_SLASHES.match(url):
        return _shown_word(url)
    return url


def without_passwords(text: str) -> str:
    """Return a message with the passwords of its URLs and connection strings left out; a URL ends at a blank."""
    return _IN_TEXT.sub(r"\1***", _URL_IN_TEXT.sub(lambda word: _shown_word(word[0]), text))


def is_path(text: str) -> bool:
    """Return whether it is a path, and not a URL, a connection string, or a URL without its `://`.

    One of these that was taken for a path would give files a password as their name.
    """
    return not ("://" in text or _CONNINFO.search(text) or _NO_SLASHES.match(text))


def is_ambiguous(url: str) -> bool:
    """Return whether a part of the password may be read as a host, a database or an option, and then be repeated.

    It is where a `@`, a `?` or a `&` in it was not escaped.
    """
    if "://" not in url or _IS_FILE.match(url):
        return False
    userinfo = _USERINFO.search(url)
    place, _, query = (url[userinfo.end() :] if userinfo else url.partition("://")[2]).partition("?")
    fields = [field.partition("=") for field in query.split("&") if field]
    names = [unquote(name).lower() for name, _, _ in fields]
    unknown = [name not in _SHOWN | _HIDDEN for name in names]
    return (
        "@" in place
        or (userinfo is not None and "?" in userinfo[0])
        or any(
            not equals or (odd and "@" in name + value)
            for odd, (name, equals, value) in zip(unknown, fields, strict=True)
        )
        or any(odd and not _HIDDEN.isdisjoint(names[:index]) for index, odd in enumerate(unknown))
    )


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the secrets of a URL, as written and as meant: a driver or a server may repeat either."""
    userinfo = _USERINFO.search(url)
    values = [userinfo[2] or ""] if userinfo else []
    for field in url.partition("?")[2].split("&"):
        name, _, value = field.partition("=")
        if unquote(name).lower() not in _SHOWN:
            values.append(value)
    spelled = [text for value in values for text in (value, unquote(value), unquote_plus(value))]
    return tuple({*spelled, *(text.partition("=")[2] for text in spelled)} - {""})  # of `options=-c name=secret` also


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a message with `***` in the place of these secrets, and of the passwords of its URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > _MAX_SHORT:
            text = text.replace(secret, "***")
        elif secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return without_passwords(text)


def _shown_word(word: str) -> str:
    return without_password(word) if "://" in word else re.split("[:/?%]", word, maxsplit=1)[0] + ":***"


def _shown_value(name: str, value: str) -> str:
    return without_password(value.strip("'")) if name.lower() in _SHOWN else "***"  # `dbname` may be a URL


def _shown_userinfo(userinfo: re.Match[str]) -> str:
    return userinfo[0] if userinfo[2] is None else f"{userinfo[1]}:***@"


def _shown_field(field: str) -> str:
    name, equals, value = field.partition("=")
    known = unquote(name).lower()
    if known in _SHOWN:
        meant = unquote(value)
        return field if without_password(meant) == meant else f"{name}=***"
    return f"{name}=***" if equals and known in _HIDDEN else "***"
