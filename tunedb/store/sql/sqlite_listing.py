"""What commands list of a store's SQLite file, read by the standard library's `sqlite3`, as look-ups are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.store.sql import records, statements
from tunedb.store.sql.sqlite_reader import SqliteReader

_COLUMNS = (*statements.SWEEP, *statements.FACTS)


class SqliteListing(SqliteReader):
    """The look-ups of a store in a SQLite file, and the lists of its sweeps and devices: what `Store` returns."""

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the finished sweeps of that problem on any device, of any kernel hash, without trials."""
        values = {"kernel": problem.kernel, "problem": problem.digest}
        with self._connected() as driver:
            selected = self._rows(driver, statements.ANY_DEVICE_OF_PROBLEM, values, _COLUMNS)
            uids = [row.uid for row in selected]
            marks, confirmed = self._marks(driver, uids), self._confirmations(driver, uids)
        return list(self._sweeps(selected, marks, confirmed, problem=problem))

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        latest: int | None = None,
    ) -> Iterator[Sweep]:
        """Yield the sweeps without trials, page by page, in the order of `Store.iter_sweeps`."""
        values: dict[str, object] = {"kernel": kernel, "device_name": device_name, "finished": finished}
        values["latest"] = statements.NO_LIMIT if latest is None else latest
        with self._connected() as driver:
            ids = [sweep_id for (sweep_id,) in self._run(driver, statements.LISTED_IDS, values).fetchall()]
        for start in range(0, len(ids), statements.PAGE):
            yield from self._page(ids[start : start + statements.PAGE])

    def _page(self, ids: list[int]) -> Iterator[Sweep]:
        named = {f"id_{n}": sweep_id for n, sweep_id in enumerate(ids)}
        statement = statements.LISTED.replace(":ids", f"({', '.join(f':{name}' for name in named)})")
        with self._connected() as driver:
            by_id = {row.id: row for row in self._rows(driver, statement, named, _COLUMNS)}
            uids = [row.uid for row in by_id.values()]
            marks, confirmed = self._marks(driver, uids), self._confirmations(driver, uids)
        yield from self._sweeps((by_id[sweep_id] for sweep_id in ids if sweep_id in by_id), marks, confirmed)

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that finished sweeps are of: those of a kernel, or of all."""
        with self._connected() as driver:
            selected = self._rows(driver, statements.SWEPT_DEVICES, {"kernel": kernel}, statements.FACTS[2:])
        return list(self._readable(selected, records.to_device))

    def known_uids(self, uids: Sequence[str]) -> set[str]:
        """Return those of these uids that finished sweeps of the store have."""
        known: set[str] = set()
        with self._connected() as driver:
            for start in range(0, len(uids), statements.PAGE):
                named = {f"uid_{n}": uid for n, uid in enumerate(uids[start : start + statements.PAGE])}
                statement = statements.KNOWN_UIDS.replace(":uids", f"({', '.join(f':{name}' for name in named)})")
                known.update(uid for (uid,) in self._run(driver, statement, named))
        return known

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of, by the kernel's hash."""
        with self._connected() as driver:
            selected = self._rows(driver, statements.TUNED_DEVICES, {"kernel_hash": kernel_hash}, statements.FACTS[2:])
        return list(self._readable(selected, records.to_device))

    def kernels(self) -> list[str]:
        """Return the names of the kernels that tuned sweeps are of, sorted."""
        with self._connected() as driver:
            selected = self._run(driver, statements.TUNED_KERNELS).fetchall()
        return sorted(name for (name,) in selected if isinstance(name, str))

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that finished sweeps are of, sorted."""
        with self._connected() as driver:
            selected = self._rows(driver, statements.PROBLEMS_OF_KERNEL, {"kernel": kernel}, ("kernel", "key"))
        return list(self._readable(selected, records.to_problem))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs that sweeps of a kernel tried, and their winners, each once."""
        with self._connected() as driver:
            selected = self._rows(driver, statements.TRIED_OF_KERNEL, {"kernel": kernel}, ("config",))
        return sorted(self._readable(selected, records.to_config), key=lambda config: config.key)
