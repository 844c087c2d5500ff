"""Settings: an argument beats the environment, which beats the default, and each says where it came from."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import tunedb
from tunedb import settings
from tunedb.errors import SettingError


def rows() -> dict[str, tuple[str, str]]:
    return {row["setting"]: (row["value"], row["source"]) for row in settings.as_rows(settings.current())}


def test_defaults_are_those_that_the_table_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEDB_STORE")
    monkeypatch.delenv("TUNEDB_CACHE")
    settings._change({})
    now = settings.current()
    assert now.store.endswith("tunedb/tunedb.db")
    assert now.cache.endswith("cache/tunedb")
    assert (now.mode, now.budget, now.lock_timeout, now.shared, now.override) == ("tune", 120, 60, None, {})
    assert set(now.sources.values()) == {"default"}


def test_an_argument_beats_the_environment_which_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_MODE", "record")
    monkeypatch.setenv("TUNEDB_BUDGET", "5")
    tunedb.configure(mode="read")
    assert rows()["TUNEDB_MODE"] == ("read", "argument")
    assert rows()["TUNEDB_BUDGET"] == ("5.0", "TUNEDB_BUDGET")
    assert rows()["TUNEDB_LOCK_TIMEOUT"] == ("60.0", "default")


def test_none_gives_a_setting_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_MODE", "record")
    tunedb.configure(mode="read")
    tunedb.configure(mode=None)
    assert settings.current().mode == "record"


def test_using_sets_a_block_and_gives_back_what_was_before() -> None:
    tunedb.configure(budget=7)
    with tunedb.using(mode="off") as inside:
        assert (inside.mode, inside.budget) == ("off", 7)
    assert (settings.current().mode, settings.current().budget) == ("tune", 7)


def test_a_change_is_announced() -> None:
    heard: list[str] = []
    settings.on_change(lambda: heard.append(settings.current().mode))
    with tunedb.using(mode="off"):
        pass
    settings._listeners.pop()
    assert heard == ["off", "tune"]


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"mode": "fast"}, "one of tune, record, read, strict, strict-compile, off, got mode"),
        ({"budget": "soon"}, "number of seconds"),
        ({"budget": -1}, "not negative"),
        ({"budget": float("nan")}, "not negative"),
        ({"override": "{"}, "override"),
        ({"override": '{"k": 1}'}, "override"),
        ({"override": '{"k": {"B": [1]}}'}, "B: expected"),
        ({"override": '{"k": {"B": NaN}}'}, "B: expected"),
        ({"override": {"k": {1: 2}}}, "1: expected"),
    ],
)
def test_a_bad_value_is_refused_and_changes_nothing(given: dict[str, object], needed: str) -> None:
    before = settings.current()
    with pytest.raises(SettingError, match=needed):
        tunedb.configure(**given)  # type: ignore[arg-type]  # wrong on purpose
    assert settings.current() == before


def test_an_unknown_setting_is_refused_and_changes_nothing() -> None:
    before = settings.current()
    with pytest.raises(TypeError, match=r"configure\(\) got an unexpected keyword argument 'moed'"):
        tunedb.configure(budget=1, moed="off")  # type: ignore[call-arg]  # wrong on purpose
    assert settings.current() == before
    with pytest.raises(TypeError, match=r"using\(\) got an unexpected keyword argument 'moed'"):
        tunedb.using(moed="off")  # type: ignore[call-arg]  # wrong on purpose


@pytest.mark.parametrize("function", [tunedb.configure, tunedb.using])
def test_every_setting_is_a_keyword_that_keeps_its_value_unless_named(function: Callable[..., object]) -> None:
    keywords = inspect.signature(function).parameters.values()
    assert [keyword.name for keyword in keywords] == list(settings._PARSERS)
    assert {(keyword.kind, repr(keyword.default)) for keyword in keywords} == {
        (inspect.Parameter.KEYWORD_ONLY, "unchanged")
    }


def test_a_setting_that_is_not_named_keeps_its_value() -> None:
    tunedb.configure(budget=7, mode="read")
    tunedb.configure(mode=None)
    assert (settings.current().mode, settings.current().budget) == ("tune", 7)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_LOCK_TIMEOUT", "never")
    with pytest.raises(SettingError, match="TUNEDB_LOCK_TIMEOUT"):
        settings._change({})


def test_a_bad_variable_is_logged_once_with_what_is_expected_and_its_default_is_used(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    for variable, value in {
        "MODE": "fast",
        "BUDGET": "soon",
        "LOCK_TIMEOUT": "-1",
        "OVERRIDE": "{",
        "SWITCH_INTERVAL": "x",
    }.items():
        monkeypatch.setenv(f"TUNEDB_{variable}", value)
    settings._set({}, None)
    now = settings.current()
    assert settings.current() is now
    assert (now.mode, now.budget, now.lock_timeout, now.override) == ("tune", 120, 60, {})
    messages = [record.getMessage() for record in records.records]
    assert [message.partition(":")[0] for message in messages] == [
        "TUNEDB_MODE", "TUNEDB_BUDGET", "TUNEDB_LOCK_TIMEOUT", "TUNEDB_OVERRIDE", "TUNEDB_SWITCH_INTERVAL"
    ]  # fmt: skip
    assert messages[0] == (
        "TUNEDB_MODE: Expected one of tune, record, read, strict, strict-compile, off, got mode 'fast'. "
        "The default is used instead. See: tunedb doctor"
    )


def test_the_end_of_a_block_gives_back_what_was_before_whatever_the_environment_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tunedb.configure(budget=7)
    with tunedb.using(mode="off"):
        monkeypatch.setenv("TUNEDB_LOCK_TIMEOUT", "never")
    assert (settings.current().mode, settings.current().budget, settings.current().lock_timeout) == ("tune", 7, 60)


def test_an_override_is_read_by_kernel_and_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_OVERRIDE", '{"avg_pool1d": {"BLOCK_OUT": 512}}')
    settings._change({})
    assert settings.current().override == {"avg_pool1d": {"BLOCK_OUT": 512}}


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://me:s3cret@host/db", "postgresql://me:s3/cr@et@host/db", "postgresql://host/db?password=s3cret",
     "postgresql://me:s3cret@host/db?sslmode=require&password=s3cret", "postgresql://me:s3 cret@host/db",
     "postgresql://host/db?pass%77ord=s3cret", "postgresql://me/x:s3cret@host", "postgresql://me:a@b:s3cret @host"],
)  # fmt: skip
def test_a_password_is_never_printed(url: str) -> None:
    tunedb.configure(shared=url)
    shown = str(settings.as_rows(settings.current()))
    assert "s3" not in shown
    assert "***" in shown


def test_what_is_printed_can_be_encoded() -> None:
    tunedb.configure(store="/tmp/\ud800/t.db")
    assert rows()["TUNEDB_STORE"] == ("/tmp/\\ud800/t.db", "argument")
