"""The devices that a kernel was tuned on, as every kind of store names them."""

from __future__ import annotations

from pathlib import Path

from tests.store.samples import DEVICE, HASH, sweep
from tunedb.core.device import Device
from tunedb.errors import StoreError
from tunedb.store import Store, open_store
from tunedb.store.guarded import GuardedStore
from tunedb.store.local import LocalOpener

L4, T4 = Device("NVIDIA L4", "cuda", "sm_89", 58), Device("Tesla T4", "cuda", "sm_75", 40)


def test_a_store_names_the_devices_that_a_kernel_was_tuned_on(store: Store) -> None:
    assert store.get_devices(HASH) == []
    store.put_sweeps([
        sweep(1), sweep(2), sweep(3, device=L4), sweep(4, device=T4, kernel_hash="cd" * 32),
        sweep(5, device=T4, status="failed", config=None, time_us=None),
    ])  # fmt: skip
    assert set(store.get_devices(HASH)) == {DEVICE, L4}
    assert store.get_devices("cd" * 32) == [T4]


def test_a_call_reads_them_without_sqlalchemy_and_a_failing_store_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(str(path)) as store:
        store.put_sweeps([sweep(1), sweep(2, device=L4)])
    guarded = GuardedStore("a.db", LocalOpener(str(path), busy_timeout=1.0, writable=False))
    assert set(guarded.get_devices(HASH)) == {DEVICE, L4}
    guarded.close()

    def away() -> Store:
        raise StoreError("it is away")

    assert GuardedStore("b.db", away).get_devices(HASH) == []
