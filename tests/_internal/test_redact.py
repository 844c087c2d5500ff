"""Passwords in URLs and connection strings: what is shown of them, and what is taken for a path."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunedb._internal.redact import (
    is_ambiguous,
    is_path,
    masked,
    secrets_of,
    without_password,
    without_passwords,
)

SECRET = "hush"  # in each part of the password between two odd characters
ODD = st.sampled_from(
    ["@", "/", "?", "#", "%", "&", "=", ":", "%40", "'", "\\", "+", ";", "[", "$", '"', "|", "@@", "?x"]
)
PASSWORDS = st.lists(ODD, min_size=1, max_size=3).map(lambda odd: SECRET + "".join(f"{char}{SECRET}" for char in odd))
PLACES = (
    "postgresql://me:{}@host/db",
    "postgresql+psycopg://me:{}@host:5432/db?sslmode=require",
    "postgresql://me:{}@[::1]:5432/db",
    "postgresql://me:{}@/db?host=/run/postgresql",
    "postgresql://me@corp:{}@host/db",
    "postgresql://host/db?user=me&password={}",
    "postgresql://host/db?password={}&sslmode=require",
    "postgresql://host/db?pass%77ord={}",
    "postgresql://host/db?PASSWORD={}",
    "postgresql://host/db?sslpassword={}",
    "postgresql://host/db?oauth_client_secret={}",
    "postgresql://host/db?options=-c%20my.secret={}",
    "postgresql://host/db?passfile={}",
    "postgresql://host/db?a_new_option={}",
    "postgresql://me:other@host/db?password={}",
    "mysql://me:{}@host/db",
    "nonsense://me:{}@host",
    "://me:{}@host",
    "postgresql:me:{}@host/db",
    "postgresql:/me:{}@host/db",
    "postgresql//me:{}@host/db",
    "postgres:{}@host",
    "me:{}@host/db",
    "me:{}@host:5432/db",
    "jdbc:postgresql://me:{}@host/db",
    "sqlite+pysqlcipher://:{}@/file.db",
)  # fmt: skip
CONNINFO = (
    "host=h user=me password='{}' dbname=d",
    "password='{}'",
    "dbname = d  password = '{}'",
    "PASSWORD='{}' host=h",
    "host=h sslpassword='{}'",
    "service=s options='-c x={}'",
)


@settings(max_examples=40, deadline=None)
@given(PASSWORDS)
def test_no_spelling_of_a_url_shows_its_password(password: str) -> None:
    for place in PLACES:
        for spelling in (password, quote(password, safe=""), quote_plus(password)):
            url = place.format(spelling)
            assert SECRET not in without_password(url), url
            assert SECRET not in without_passwords(f"Can't use {url}: refused"), url
            assert not is_path(url), url


@settings(max_examples=40, deadline=None)
@given(PASSWORDS)
def test_no_spelling_of_a_connection_string_shows_its_password(password: str) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    for place in CONNINFO:
        text = place.format(escaped)
        assert SECRET not in without_password(text), text
        assert not is_path(text), text
    for text in (f"host=h password={password.replace(' ', '')}", f"password={password} host=h"):
        assert SECRET not in without_password(text), text
        assert not is_path(text)


@pytest.mark.parametrize(
    "text",
    ["postgresql://host/db;password=hush", "postgresql://host/db?user=me;password=hush",
     "jdbc:postgresql://host/db?user=me;password=hush", "postgresql://host/db#password=hush",
     "postgresql://me%3Ahush@host/db", "postgresql://host/db?dbname=password%3Dhush",
     "postgresql://host/db?host=me:hush@other", "postgresql%3A//me:hush@host/db", "postgresql?password=hush",
     "file:/a/b.db?key=hush", "PGPASSWORD=hush psql -h host", "dbname='password = hush'",
     "host=h;user=me;password=hush", "Host=h;Username=me;Password=hush;Database=d",
     "Server=h;Database=d;User Id=me;Pwd=hush;", "sqlite+pysqlcipher://:hu@hush@/f.db"],
)  # fmt: skip
def test_no_spelling_of_other_drivers_shows_a_password_or_names_a_file_by_it(text: str) -> None:
    assert SECRET not in without_password(text)
    assert not is_path(text)


@pytest.mark.parametrize(
    "text", ["password=hush\\ hush host=h", "password='hush''hush'", 'password="hush hush"', "Pwd=hush;Host=h"]
)
def test_a_message_shows_no_part_of_a_password_in_quotes(text: str) -> None:
    assert SECRET not in without_passwords(f"Can't connect by {text}: refused")


@pytest.mark.parametrize("path", ["/data/password=x/store.db", "sqlite:////data/password=x/a@b;c.db", "/a/pwd.db"])
def test_a_path_is_shown_as_it_is(path: str) -> None:
    assert without_password(path) == path


@settings(max_examples=40, deadline=None)
@given(PASSWORDS)
def test_what_a_server_repeats_of_a_password_is_masked(password: str) -> None:
    for place in PLACES[:3] + PLACES[5:13]:
        for spelling in (password, quote(password, safe="")):
            if is_ambiguous(place.format(spelling)):
                continue  # no driver gets it
            secrets = secrets_of(place.format(spelling))
            for repeated in (password, quote(password, safe="")) if spelling != password else (password,):
                assert SECRET not in masked(f'FATAL: no password "{repeated}" for user "me"', secrets)


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("ab", "unable to use ab", "unable to use ***"),
        ("x", "no x in max", "no *** in max"),
        ("hush", "ahushb", "a***b"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_short_password_is_masked_where_it_is_a_word(secret: str, text: str, shown: str) -> None:
    assert masked(text, [secret]) == shown


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:p@ss@host/db", "postgresql://me:s/e@x@host/db", "postgresql://me:p@x/y@host",
     "postgresql://me:p@x?y@host/db", "postgresql://me:p@x?y=z@host/db", "postgresql://me@corp:pw@host/db", "postgresql://me:p?x@host/db",
     "postgresql://h:5432/d?password=a@b", "postgresql://me:a@b?c@host/d?sslmode=require",
     "postgresql://h/d?password=a&b", "postgresql://h/d?password=a&b=c", "postgresql://h/d?password=a&b=c&sslmode=x"],
)  # fmt: skip
def test_a_password_whose_parts_may_be_read_as_something_else_is_found(url: str) -> None:
    assert is_ambiguous(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:p%40ss@host/db", "postgresql://me:s/e:c#r&t@host/db", "postgresql://host/db", "sqlite:///a@b@c.db",
     "postgresql:///db?host=/run/x&user=a@b", "postgresql://me@host/db?host=@abstract", "postgresql://h/d?nonsense=1",
     "postgresql://me:x@h1:1,h2:2/d?target_session_attrs=any&connect_timeout=1", "sqlite://", "postgresql://h/d?"],
)  # fmt: skip
def test_a_password_that_is_escaped_where_it_has_to_be_is_taken(url: str) -> None:
    assert not is_ambiguous(url)


@pytest.mark.parametrize(
    "path",
    ["store.db", "/var/lib/tunedb/store.db", "~/store.db", "./me:x@host", "a/b:c@d", ":memory:", "with space.db",
     "a&b=c;d.db", "#?%.db", "ünïcode.db", "/srv/host=a/user=b/store.db", "C=1.db", "me@host.db", "12:30.db", "",
     "~me/x"],
)  # fmt: skip
def test_a_path_is_a_path_and_shown_as_it_is(path: str) -> None:
    assert is_path(path)
    assert without_password(path) == path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:x@host:5432/db?sslmode=require", "postgresql://me:***@host:5432/db?sslmode=require"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://me@host/db?password=x&user=u", "postgresql://me@host/db?password=***&user=u"),
        ("postgresql://me:secret/db", "postgresql://me:***"),
        ("postgresql:me:secret@host/db", "postgresql:***"),
        ("host=h password=x dbname=d", "host=h password=*** dbname=d"),
        ("sqlite:////tmp/a:b.db", "sqlite:////tmp/a:b.db"),
    ],
)
def test_what_is_left_says_which_store_it_is(url: str, shown: str) -> None:
    assert without_password(url) == shown
