"""Bundles as a layer: found by setting and entry point, in folders and zips, ranked behind stores, never in the way."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ENVIRONMENT, FakeKernel, config
from tests.planted import register
from tests.store.bundled import altered, fixed, write
from tests.store.samples import DEVICE, HASH, NOON, sweep
from tests.tuner.tuners import tuner_on
from tunedb.core.device import INTERPRETER
from tunedb.core.sweep import Mark, Sweep
from tunedb.errors import MissError
from tunedb.store import Store, bundles, open_store
from tunedb.store.bundle import file_format, sources
from tunedb.store.bundles import BundleLayer
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.local import LocalOpener
from tunedb.store.shared import SharedStore

KERNEL = FakeKernel({1: 9.0, 2: 5.0, 3: 7.0})


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_logged", set())


def answer(block: int, **changes: Any) -> Sweep:
    """A sweep of KERNEL's problem in the tuner's environment that `block` won."""
    values = {
        "problem": KERNEL.problem(),
        "device": INTERPRETER,
        "kernel_hash": KERNEL.hash,
        "environment": ENVIRONMENT,
        "config": config(block),
        "trials": (dataclasses.replace(sweep().trials[0], config=config(block), status="ok", error=None),),
    }
    return sweep(**{**values, **changes})


def elsewhere(block: int, **changes: Any) -> Sweep:
    """The same in another environment."""
    return answer(block, environment=sweep().environment, **changes)


def layer_of(*paths: Path) -> BundleLayer:
    return BundleLayer([str(path) for path in paths], list)


def choose(store: Any, tmp_path: Path, mode: str = "tune") -> Any:
    return tuner_on(store, tmp_path, mode=mode).choose(KERNEL, KERNEL.problem(), -1)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    """An empty local store."""
    with open_store(str(tmp_path / "local.db")) as store:
        yield store


def test_a_winner_of_a_bundle_is_served_and_nothing_is_swept(tmp_path: Path, local: Store) -> None:
    store = LayeredStore(local, bundles=layer_of(write(tmp_path / "b.db", [answer(3)])))
    choice = choose(store, tmp_path)
    assert (choice.config, choice.source, choice.layer) == (config(3), "store", "bundle")
    assert list(local.iter_sweeps()) == []


def test_all_trials_of_a_bundle_count_as_covering_the_space_too(tmp_path: Path, local: Store) -> None:
    path = write(tmp_path / "b.db", [answer(3)], only_winners=False)
    assert choose(LayeredStore(local, bundles=layer_of(path)), tmp_path).source == "store"


def test_a_stale_winner_is_served_in_strict_and_tuned_again_on_request_only(tmp_path: Path, local: Store) -> None:
    store = LayeredStore(local, bundles=layer_of(write(tmp_path / "b.db", [elsewhere(3)])))
    for mode in ("tune", "strict"):
        choice = choose(store, tmp_path, mode)
        assert (choice.config, choice.source, choice.layer) == (config(3), "stale", "bundle")


LATER = NOON + timedelta(days=1)


@pytest.mark.parametrize(
    ("here", "shared", "bundled", "expected"),
    [
        ([answer(1)], [], [answer(2, finished=LATER)], (1, "local")),
        ([], [answer(1)], [answer(2, finished=LATER)], (1, "shared")),
        ([elsewhere(1)], [elsewhere(3)], [answer(2)], (2, "bundle")),
        ([elsewhere(1)], [], [elsewhere(2, finished=LATER)], (1, "local")),
        ([answer(1, complete=False)], [], [answer(2)], (2, "bundle")),
        ([answer(1)], [answer(3, finished=LATER)], [answer(2)], (3, "shared")),
        ([answer(9)], [], [answer(2)], (2, "bundle")),  # 9 is in no space any more
        ([], [], [answer(9), answer(2, finished=NOON)], (2, "bundle")),
    ],
)
def test_validity_ranks_before_the_layer_and_stores_before_bundles(
    tmp_path: Path, local: Store, here: Any, shared: Any, bundled: Any, expected: Any
) -> None:
    path = str(tmp_path / "shared.db")
    with open_store(path) as other:
        other.put_sweeps(shared)
    local.put_sweeps(here)
    layer = layer_of(write(tmp_path / "b.db", bundled, only_winners=False))
    store = LayeredStore(local, SharedStore(path, lambda: open_store(path), deadline=5), layer)
    choice = choose(store, tmp_path, "read")
    assert (choice.config, choice.layer) == (config(expected[0]), expected[1])


def test_several_bundles_answer_together_and_a_copy_counts_once(tmp_path: Path, local: Store) -> None:
    same = answer(3)
    local.put_sweeps([same])
    first = write(tmp_path / "1.db", [same])
    second = write(tmp_path / "2.db", [same, answer(2, finished=NOON)], only_winners=False)
    store = LayeredStore(local, bundles=layer_of(first, second))
    found = store.get_sweeps(same.problem, same.device, same.kernel_hash)
    assert sorted((one.layer, one.config == config(3)) for one in found) == [("bundle", False), ("local", True)]


def test_a_mark_of_the_local_store_holds_for_a_bundle(tmp_path: Path, local: Store) -> None:
    bad = answer(3)
    local.marks.put(bad.uid, Mark("quarantine", "wrong on this machine"))
    store = LayeredStore(local, bundles=layer_of(write(tmp_path / "b.db", [bad])))
    with pytest.raises(MissError):
        choose(store, tmp_path, "strict")


def test_the_nearest_problem_may_be_a_bundles(tmp_path: Path, local: Store) -> None:
    other = answer(3, problem=KERNEL.problem(n=2))
    store = LayeredStore(local, bundles=layer_of(write(tmp_path / "b.db", [other])))
    choice = tuner_on(store, tmp_path, mode="read").choose(KERNEL, KERNEL.problem(n=1), -1)
    assert (choice.config, choice.source, choice.layer) == (config(3), "nearest", "bundle")


def test_a_call_that_a_bundle_answers_makes_no_store(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.db"
    opener = LocalOpener(str(path), busy_timeout=1, writable=True)
    guarded = GuardedStore(str(path), opener, load=opener.load, is_new=opener.is_new)
    store = LayeredStore(guarded, bundles=layer_of(write(tmp_path / "b.db", [answer(3)])))
    assert choose(store, tmp_path).source == "store"
    assert not path.parent.exists()


def damage(kind: str, path: Path) -> None:
    content = path.read_bytes()
    if kind == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "planted":
        path.write_bytes(altered(content, lambda db: db.execute("CREATE VIEW v AS SELECT 1"), path))
    elif kind == "another schema":
        path.write_bytes(altered(content, lambda db: db.execute("PRAGMA user_version=9"), path))
    elif kind == "text":
        path.write_text("hello")
    elif kind == "a corrupt page":
        database = bytearray(content[: -file_format.SEAL_BYTES])
        database[4096:] = b"\xff" * (len(database) - 4096)
        path.write_bytes(file_format.sealed(bytes(database)))
    elif kind == "a store":
        path.unlink()
        open_store(str(path)).close()
    else:
        path.unlink()
        if kind == "a folder":
            path.mkdir()
        elif kind == "a pipe":
            os.mkfifo(path)


KINDS = ["cut off", "planted", "another schema", "text", "a corrupt page", "a store", "missing", "a folder", "a pipe"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_that_can_not_be_used_is_left_out_with_one_record(
    kind: str, tmp_path: Path, local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = write(tmp_path / "good.db", [answer(3)]), write(tmp_path / "bad.db", [answer(2, finished=LATER)])
    damage(kind, bad)
    for _ in range(2):  # as after a change of the settings
        store = LayeredStore(local, bundles=layer_of(bad, good))
        for _ in range(2):
            assert choose(store, tmp_path, "strict").config == config(3)
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(records) == 1
    assert "bad.db" in records[0].getMessage()


def test_a_bundle_on_a_disk_that_hangs_keeps_no_call_waiting(
    tmp_path: Path, local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bundles, "READ_S", 0.05)
    hangs = threading.Event()
    source = sources.BundleSource("far", None, lambda: bytes(hangs.wait(60)))
    store = LayeredStore(local, bundles=BundleLayer([], lambda: [source]))
    assert choose(store, tmp_path, "read").source == "default"
    hangs.set()
    assert any("Bundles gave no answer within" in record.getMessage() for record in caplog.records)


def package(folder: Path, value: str, content: bytes, file: str = "data/tuned.db") -> None:
    """An installed package `shipped` with a bundle, whose code must not run."""
    register(folder, f"[tunedb.bundles]\nours = {value}\n")
    (folder / "shipped" / "data").mkdir(parents=True)
    (folder / "shipped" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (folder / "shipped" / file).write_bytes(content)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(("value", "file"), [("shipped.data:tuned.db", "data/tuned.db"), ("shipped:t.db", "t.db")])
def test_a_package_ships_a_bundle_and_is_not_imported(
    kind: str, value: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = fixed(2)
    package(tmp_path / "site", value, write(tmp_path / "b.db", put).read_bytes(), file)
    place = tmp_path / "site"
    if kind == "zip":
        place = tmp_path / "site.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in sorted((tmp_path / "site").rglob("*")):
                archive.write(path, path.relative_to(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(place))
    (source,) = [one for one in sources.installed() if one.name.startswith("ours")]
    assert source.name == "ours of planted"
    assert (source.path is None) == (kind == "zip")
    found = BundleLayer([], lambda: [source]).get_sweeps(put[0].problem, DEVICE, HASH)
    assert [one.uid for one in found] == [put[0].uid]


@pytest.mark.parametrize("value", ["shipped:none.db", "shipped", "absent.package:t.db", "shipped.data", "os:t.db"])
def test_an_entry_point_without_a_file_is_left_out_with_one_record(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package(tmp_path / "site", value, b"")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert [one for one in sources.installed() if one.name.startswith("ours")] == []
    assert ["Bundle ours of planted is left out" in record.getMessage() for record in caplog.records] == [True]


def test_a_forked_child_reads_bundles_of_its_own(tmp_path: Path) -> None:
    put = fixed(2)
    layer = layer_of(write(tmp_path / "b.db", put))

    def read() -> bool:
        return [one.uid for one in layer.get_sweeps(put[0].problem, DEVICE, HASH)] == [put[0].uid]

    assert read()
    (before,) = layer.opened()
    child = os.fork()
    if not child:
        os._exit(0 if read() and layer.opened() != [before] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read()
