"""Copy rates in both engines: each device's newest one stays, and an odd row hides no other and is replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.odd_rows import NOT_UTF8, SQLITE
from tests.store.samples import DEVICE, NOON, sweep
from tunedb.store import Store, open_store
from tunedb.store.sql.copy_rates import CopyRate

OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100")


def test_a_rate_comes_back_as_it_was_put(store: Store) -> None:
    rate = CopyRate(3.25e12, NOON, "node7")
    store.copy_rates.put(DEVICE, rate)
    assert store.copy_rates.get() == {DEVICE.digest: rate}


def test_a_rate_that_is_measured_again_takes_the_place_of_the_first(store: Store) -> None:
    store.copy_rates.put(OTHER, CopyRate(3e12))
    store.copy_rates.put(DEVICE, CopyRate(1e12))
    again = CopyRate(0.5e12, NOON + timedelta(days=1), "node8")
    store.copy_rates.put(DEVICE, again)
    rates = store.copy_rates.get()
    assert rates[DEVICE.digest] == again
    assert rates[OTHER.digest].bytes_per_s == 3e12


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_rate_is_refused(store: Store, rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        store.copy_rates.put(DEVICE, CopyRate(rate))
    assert store.copy_rates.get() == {}


def test_an_odd_row_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    devices = [dataclasses.replace(DEVICE, name=f"GPU {number}") for number in range(3 * (len(SQLITE) + 1))]
    with open_store(str(path)) as store:
        store.put_sweep(sweep(1))
        for device in (OTHER, *devices):
            store.copy_rates.put(device, CopyRate(1e12))
    values = [(column, value) for column in ("bytes_per_s", "measured", "host") for value in (*SQLITE, NOT_UTF8)]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for device, (column, value) in zip(devices, values, strict=True):
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(
                    f"UPDATE copy_rate SET {column} = ? WHERE device_id = (SELECT id FROM device WHERE digest = ?)",
                    (value, device.digest),
                )
        connection.commit()
    with open_store(str(path)) as store:
        rates = store.copy_rates.get()
        assert rates[OTHER.digest].bytes_per_s == 1e12
        assert all(type(rate.bytes_per_s) is float and 0 < rate.bytes_per_s < float("inf") for rate in rates.values())
        assert len(list(store.iter_sweeps())) == 1
        for device in devices:
            store.copy_rates.put(device, CopyRate(2e12))
        rates = store.copy_rates.get()
        assert {rates[device.digest].bytes_per_s for device in devices} == {2e12}
