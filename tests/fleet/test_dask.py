"""`warm --dask`: a real scheduler and workers, one of which is killed in the middle; what differs is refused."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.fleet.conftest import Outcomes, write_shapes
from tests.planted import HANG_WHILE, KERNEL, NAME, problem_of, register_lightly
from tests.threads import eventually
from tunedb import settings
from tunedb.core.claim import LEASE_S, ClaimKey
from tunedb.core.device import INTERPRETER
from tunedb.errors import SettingError
from tunedb.fleet import dask_cluster
from tunedb.store import Store, open_store

pytest.importorskip("distributed", reason="needs distributed: pip install 'tunedb[dask]'")

WORKERS, ALL_WORKERS = 3, 4  # one is killed, the others share what is left; all of them with --exhaustive
LIBRARIES = ("distributed", *forked.LIBRARIES)
LOOPBACK = "127.0.0.1"
START_S = 90.0  # ample, on a busy machine


class Cluster:
    """A scheduler and workers, each a process of its own with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.path = register_lightly(folder / "site")
        self.processes: list[forked.Program] = []
        self.workers: dict[str, forked.Program] = {}
        self.scheduler = self.start(
            "scheduler", "--port", "0", "--host", LOOPBACK, "--scheduler-file", self.file, "--no-dashboard"
        )

    def start(self, *words: object, **environment: str) -> forked.Program:
        """Start a process of Dask."""
        variables = {"PYTHONPATH": self.path, "TRITON_INTERPRET": "1", "TUNEDB_CACHE": "off", **environment}
        with (self.folder / "log.txt").open("ab") as log:
            process = forked.Program(
                ["-m", "dask", *words], env=os.environ | variables, cwd=self.folder, libraries=LIBRARIES,
                output=log.fileno(),
            )  # fmt: skip
        self.processes.append(process)
        return process

    def add_worker(self, name: str, *options: object, **environment: str) -> None:
        """Start a worker that declares a GPU."""
        words = (
            "worker",
            "--scheduler-file",
            self.file,
            "--nthreads",
            "1",
            "--no-nanny",
            "--host",
            LOOPBACK,
            "--name",
            name,
        )
        store = str(self.folder / f"{name}.db")
        place = ("--local-directory", self.folder / name, "--no-dashboard")
        self.workers[name] = self.start(*words, *place, *options, TUNEDB_STORE=store, **environment)

    def address(self) -> str:
        """The scheduler's address."""
        assert eventually(lambda: self.file.exists() and self.file.read_text().endswith("}"), START_S), self.log()
        address: str = json.loads(self.file.read_text())["address"]
        return address

    def has_registered(self, workers: int) -> bool:
        """Whether so many workers have registered by now."""
        return self.log().count("Registered to:") >= workers

    def log(self) -> str:
        """What the processes said."""
        return (self.folder / "log.txt").read_text()

    def end(self) -> None:
        """Kill all processes."""
        for process in self.processes:
            process.kill()
            process.wait()
            process.close()

    def warm(self, *words: object) -> forked.Program:
        """Start `tunedb warm --dask` as a client in a process of its own, with this test's store."""
        command = ["-m", "tunedb", "warm", "--dask", self.address(), "--format", "json", *words]
        environment = os.environ | {"PYTHONPATH": self.path, "TRITON_INTERPRET": "1"}
        return forked.Program(command, env=environment, libraries=LIBRARIES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A cluster of workers with a GPU each."""
    made = Cluster(tmp_path_factory.mktemp("dask"))
    workers = ALL_WORKERS if pytestconfig.getoption("--exhaustive") else WORKERS
    try:
        made.address()
        for number in range(workers):
            made.add_worker(f"w{number}", "--resources", "GPU=1")
        assert eventually(lambda: made.has_registered(workers), START_S), made.log()
        yield made
    finally:
        made.end()


def test_what_a_killed_worker_did_is_done_by_another_and_each_problem_is_stored_once(
    cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    (hangs := cluster.folder / "hangs").touch()
    problems: list[Outcomes] = [{f"b{2**n}": 0.001} for n in range(7)]
    problems.append({"b1": 0.001, "b2": f"{HANG_WHILE}{hangs}"})
    shapes = write_shapes(tmp_path / "shapes.jsonl", problems)
    client = cluster.warm("--from", shapes)

    def busy_worker() -> str | None:
        """The worker in whose store the sweep hangs; not asked more often than a store can be opened."""
        time.sleep(0.2)
        for name, process in cluster.workers.items():
            theirs = open_store(str(cluster.folder / f"{name}.db"), create=False)
            if process.poll() is None and theirs is not None:  # None: it is not made yet
                with theirs:
                    sweeps = theirs.iter_sweeps(finished=False, with_trials=True)
                    if any(sweep.status == "running" and len(sweep.problem) == 2 and sweep.trials for sweep in sweeps):
                        return name
        return None

    assert eventually(lambda: client.poll() is not None or busy_worker(), START_S), cluster.log()
    assert client.poll() is None, client.communicate()
    name = busy_worker()
    assert name is not None
    hangs.unlink()
    cluster.workers.pop(name).send_signal(signal.SIGKILL)
    with open_store(str(cluster.folder / f"{name}.db")) as theirs:  # its child gives back what it has claimed
        key = ClaimKey(problem_of(**problems[-1]), INTERPRETER, KERNEL.hash)
        assert eventually(lambda: (claim := theirs.claims.get(key)) and claim.state == "released", LEASE_S - 10)
    out, err = client.communicate(timeout=START_S)
    assert client.returncode == 0, err + cluster.log()
    rows = json.loads(out)
    assert [(row["kernel"], row["source"]) for row in rows] == [(NAME, "sweep")] * len(problems)
    counts = Counter(sweep.problem for sweep in store.iter_sweeps())
    assert len(counts) == len(problems)
    assert set(counts.values()) == {1}
    assert {row["uid"] for row in rows} == {sweep.uid for sweep in store.iter_sweeps()}
    assert len({row["worker"] for row in rows}) > 1
    assert f"[{len(problems)}/{len(problems)}] " in err
    again = cluster.warm("--from", shapes)
    out, err = again.communicate(timeout=START_S)
    assert {row["source"] for row in json.loads(out)} == {"stored"}, err
    assert len(list(store.iter_sweeps())) == len(problems)


def test_a_worker_with_other_versions_is_named_with_both_values_before_any_work(
    cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "torch.py").write_text((Path(__file__).parents[1] / "stand_in.py").read_text().replace(
        '__version__ = "0"', '__version__ = "9.9"'
    ))  # fmt: skip
    before = cluster.log().count("Registered to:")
    cluster.add_worker("other", "--resources", "GPU=1", PYTHONPATH=os.pathsep.join([str(other), cluster.path]))
    assert eventually(lambda: cluster.has_registered(before + 1), START_S), cluster.log()
    try:
        shapes = write_shapes(tmp_path / "shapes.jsonl", [{"b1": 0.002}])
        client = cluster.warm("--from", shapes)
        out, err = client.communicate(timeout=START_S)
    finally:
        process = cluster.workers.pop("other")
        process.kill()
        process.wait()
    assert (client.returncode, out) == (2, "")
    lines = [line for line in err.splitlines() if line.startswith("tunedb: ")]
    assert len(lines) == 1
    assert lines[0].startswith("tunedb: Nothing was tuned. Worker tcp://")
    assert "differs: torch: 9.9 there, 0 here." in lines[0]
    assert list(store.iter_sweeps(finished=False)) == []
    assert Path(settings.current().store).exists()


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 0.5)
    with (
        pytest.raises(SettingError, match=r"No Dask scheduler answers at 127\.0\.0\.1:9: .*Expected HOST:PORT"),
        dask_cluster.dask_cluster("127.0.0.1:9", [NAME]),
    ):
        pass


def test_without_dask_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingError, match=r"pip install 'tunedb\[dask\]'"), dask_cluster.dask_cluster("a:1", []):
        pass
