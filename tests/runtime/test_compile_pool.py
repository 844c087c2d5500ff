"""Which compile workers pools use: each its own, or one after the other the same, and none for what is cached."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from tests.fakes import config
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.runtime import compile_pool
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.compile_pool import CompilePool, one_compile_worker

CONFIGS = [config(block) for block in (64, 128, 256)]


class Job:
    """A job that compiles nothing."""

    def __init__(self, *, is_cached: bool = False) -> None:
        self._is_cached = is_cached

    def is_cached(self) -> bool:
        return self._is_cached


class Worker:
    """A compile worker without a process."""

    def __init__(self, workers: int) -> None:
        self.workers, self.is_idle, self.is_closed = workers, True, False
        self.compiled = 0

    def compile(self, job: object) -> float:
        self.compiled += 1
        return 0.5

    def close(self) -> None:
        self.is_closed, self.is_idle = True, False


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    """The workers that pools start."""
    made: list[Worker] = []

    def start(workers: int) -> Worker:
        made.append(Worker(workers))
        return made[-1]

    monkeypatch.setattr(compile_pool, "CompileWorker", start)
    yield made
    assert all(worker.is_closed for worker in made)  # none is left behind


def use(workers: int = 2, cached: Sequence[Config] = ()) -> CompilePool:
    """A pool that has compiled all its configs."""

    def job_of(one: Config) -> CompileJob:
        return Job(is_cached=one in cached)  # type: ignore[return-value]  # as much of one as a pool uses

    pool = CompilePool(lambda _: Resources(), CONFIGS, workers, job_of)
    for one in CONFIGS:
        pool.get(one)
    return pool


def test_each_pool_has_a_worker_of_its_own(started: list[Worker]) -> None:
    for _ in range(2):
        use().close()
    assert [worker.compiled for worker in started] == [2, 2]  # the first config is compiled on a thread


def test_none_is_started_while_the_cache_has_what_is_asked_for(started: list[Worker]) -> None:
    use(cached=CONFIGS).close()
    assert not started
    use(cached=CONFIGS[:2]).close()
    assert [worker.compiled for worker in started] == [1]


def test_a_closed_pool_starts_none(started: list[Worker]) -> None:
    pool = use(cached=CONFIGS)
    pool.close()
    assert pool._compile_worker() is None
    assert not started


def test_one_that_is_being_started_when_its_pool_is_closed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def start(workers: int) -> Worker:
        begun.set()
        assert go_on.wait(30)
        made.append(Worker(workers))
        return made[0]

    monkeypatch.setattr(compile_pool, "CompileWorker", start)
    # As much of a job as a pool uses.
    pool = CompilePool(lambda _: Resources(), CONFIGS, 2, lambda _: Job())  # type: ignore[arg-type, return-value]
    assert begun.wait(30)
    closing = threading.Thread(target=pool.close)
    closing.start()
    go_on.set()
    closing.join(30)
    assert made[0].is_closed


def test_in_a_block_they_use_one_after_the_other_the_same(started: list[Worker]) -> None:
    with one_compile_worker():
        for _ in range(3):
            use().close()
        assert [worker.compiled for worker in started] == [6]
    use().close()
    assert len(started) == 2


def test_two_pools_at_a_time_do_not_share_one(started: list[Worker]) -> None:
    with one_compile_worker():
        first, second = use(), use()
        assert len(started) == 2
        first.close()
        second.close()
        assert [worker.is_closed for worker in started] == [False, True]


def test_one_that_still_compiles_or_has_ended_is_not_used_again(started: list[Worker]) -> None:
    with one_compile_worker():
        busy = use()
        started[0].is_idle = False  # it compiles what the pool no longer needs
        busy.close()
        assert started[0].is_closed
        use().close()
        started[1].close()  # it crashed while it was kept
        use().close()
        assert len(started) == 3


def test_another_number_of_cores_takes_another_one(started: list[Worker]) -> None:
    with one_compile_worker():
        use(2).close()
        use(4).close()
        assert [(worker.workers, worker.is_closed) for worker in started] == [(2, True), (4, False)]


def test_an_error_in_the_block_ends_it(started: list[Worker]) -> None:
    @one_compile_worker()
    def tune() -> None:
        use().close()
        raise KeyError

    with pytest.raises(KeyError):
        tune()
    assert started[0].is_closed
