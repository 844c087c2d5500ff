"""`tunedb.warm_many`: on this host, and on executors, whose results are stored here, once, whatever becomes of them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import tunedb
from tests.planted import HANG_WHILE, KERNEL, NAME, problem_of
from tests.threads import eventually
from tunedb import registry, settings
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, MarkKind
from tunedb.errors import SettingError, StoreUnavailable
from tunedb.fleet import workplace as places
from tunedb.fleet.job import run_job
from tunedb.fleet.workplace import workplace
from tunedb.store import Store, open_store
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.problem_lock import lock_problem

PROBLEMS = [{"kernel": NAME, f"b{2**n}": 0.001} for n in range(4)]


@pytest.fixture(autouse=True)
def registered(planted: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The planted kernel is registered in this process and its children; at the end, this process has no child."""

    def named(name: str) -> Any:
        if name != NAME:
            raise SettingError(f"No kernel is called {name!r}.")
        return KERNEL

    monkeypatch.setattr(registry, "kernel_named", named)
    monkeypatch.setattr(
        "tunedb.fleet.versions.environment", lambda *asked: tunedb.core.device.Environment("3", "2", "", "")
    )
    yield
    if places._current is not None:
        places._current.close()
        places._current = None


def use_store(path: str) -> None:
    """Have this process, a worker, use a store of its own."""
    os.environ["TUNEDB_STORE"] = path
    settings._change({})


def processes(workers: int, folder: Path) -> ProcessPoolExecutor:
    """A pool of processes that have a store of their own."""
    return ProcessPoolExecutor(workers, get_context("fork"), initializer=use_store, initargs=(str(folder / "w.db"),))


def test_without_an_executor_this_host_tunes(store: Store) -> None:
    heard: list[tunedb.WarmResult] = []
    results = tunedb.warm_many([*PROBLEMS, {"kernel": NAME, "b1": "wrong"}], on_result=heard.append)
    assert [result.outcome for result in results] == ["sweep"] * 4 + ["failed"]
    assert [result.config and result.config["BLOCK"] for result in results] == [1, 2, 4, 8, None]
    assert results[4].error == "wrong: 1 of 8 elements is wrong"
    assert Counter(map(id, heard)) == Counter(map(id, results))
    assert {sweep.uid for sweep in store.iter_sweeps()} == {result.sweep.uid for result in results if result.sweep}
    assert [result.outcome for result in tunedb.warm_many(PROBLEMS)] == ["stored"] * 4


def test_threads_have_a_child_each(store: Store) -> None:
    with ThreadPoolExecutor(2) as executor:
        results = tunedb.warm_many(PROBLEMS, executor)
    assert [result.outcome for result in results] == ["sweep"] * 4
    assert {result.worker.partition(", ")[2] for result in results} == {"interpreter 0", "interpreter 1"}
    assert len(list(store.iter_sweeps())) == 4


def test_results_of_workers_with_another_store_are_stored_here_with_their_trials(store: Store, tmp_path: Path) -> None:
    heard = []
    (tmp_path / "there").mkdir()
    with processes(2, tmp_path / "there") as executor:
        results = tunedb.warm_many(PROBLEMS, executor, on_result=lambda result: heard.append(result.problem))
    assert [result.outcome for result in results] == ["sweep"] * 4
    assert sorted(map(str, heard)) == sorted(str(result.problem) for result in results)
    stored = {sweep.uid: sweep for sweep in store.iter_sweeps(with_trials=True)}
    for result in results:
        assert result.sweep is not None
        assert [trial.status for trial in stored[result.sweep.uid].trials] == ["ok"]
    with open_store(str(tmp_path / "there" / "w.db")) as theirs:
        assert {sweep.uid for sweep in theirs.iter_sweeps()} == set(stored)


def test_a_worker_tunes_nothing_that_is_stored_here(store: Store, tmp_path: Path) -> None:
    (first,) = tunedb.warm_many(PROBLEMS[:1])
    with processes(1, tmp_path) as executor:
        results = tunedb.warm_many(PROBLEMS[:2], executor)
        assert [result.outcome for result in results] == ["stored", "sweep"]
        assert results[0].sweep is not None
        assert first.sweep is not None
        assert results[0].sweep.uid == first.sweep.uid
    assert len(list(store.iter_sweeps())) == 2


def test_a_quarantined_sweep_is_not_what_a_worker_hears_of(store: Store, tmp_path: Path) -> None:
    (first,) = tunedb.warm_many(PROBLEMS[:1])
    assert first.sweep is not None
    store.marks.put(first.sweep.uid, Mark(MarkKind.QUARANTINE, "no good"))
    with processes(1, tmp_path) as executor:
        (second,) = tunedb.warm_many(PROBLEMS[:1], executor)
    assert (second.outcome, second.sweep == first.sweep) == ("sweep", False)


@pytest.mark.usefixtures("patience")
def test_a_call_gets_what_was_tuned_elsewhere(tmp_path: Path) -> None:
    problem = problem_of(b1=0.03, b2=0.001)
    from tunedb.tuner import session

    with tunedb.using(mode="record"):
        assert session.active().choose(KERNEL, problem, -1).source == "default"
        with processes(1, tmp_path) as executor:
            tunedb.warm_many([problem], executor)
        choice = session.active().choose(KERNEL, problem, -1)
        assert choice.config["BLOCK"] == 2
        assert choice.source in ("store", "stale")  # the worker's torch is a stand-in, of another version


def test_what_is_tuned_elsewhere_is_passed_over_and_looked_at_again(store: Store) -> None:
    first, *others = [KERNEL.problem({f"b{2**n}": 0.001}) for n in range(3)]
    heard: list[tunedb.WarmResult] = []
    with lock_problem(lock_folder(settings.current()), first, INTERPRETER, 1) as lock, ThreadPoolExecutor(1) as pool:

        def hear(result: tunedb.WarmResult) -> None:
            heard.append(result)
            if len(heard) == len(others):
                lock._release()

        results = tunedb.warm_many([first, *others], pool, on_result=hear)
    assert [result.outcome for result in results] == ["sweep"] * 3
    assert [result.problem for result in heard] == [*others, first]


def test_what_is_tuned_elsewhere_for_too_long_is_busy(store: Store) -> None:
    problem = KERNEL.problem({"b1": 0.001})
    taken = lock_problem(lock_folder(settings.current()), problem, INTERPRETER, 1)
    with taken, ThreadPoolExecutor(1) as pool, tunedb.using(lock_timeout=0.1):
        [result] = tunedb.warm_many([problem], pool)
    assert result.outcome == "busy"


def test_a_problem_that_is_named_twice_is_tuned_once(store: Store) -> None:
    heard: list[tunedb.WarmResult] = []
    with ThreadPoolExecutor(2) as executor:
        problems = [PROBLEMS[0], problem_of(b1=0.001), PROBLEMS[1]]
        results = tunedb.warm_many(problems, executor, on_result=heard.append)
    assert [result.config and result.config["BLOCK"] for result in results] == [1, 1, 2]
    assert len(heard) == len(list(store.iter_sweeps())) == 2


def test_a_config_that_crashes_takes_no_worker_along(store: Store, tmp_path: Path) -> None:
    with processes(1, tmp_path) as executor:
        before = executor.submit(os.getpid).result()
        crash, fine = tunedb.warm_many([{"kernel": NAME, "b1": 0.001, "b2": "crash"}, PROBLEMS[2]], executor)
        assert executor.submit(os.getpid).result() == before
    assert (crash.outcome, fine.outcome) == ("sweep", "sweep")
    assert crash.sweep is not None
    assert {trial.status for trial in crash.sweep.trials} == {"ok", "runtime_error"}
    failed = tunedb.warm_many([{"kernel": NAME, "b1": "crash"}], ThreadPoolExecutor(1))[0]
    assert (failed.outcome, failed.config, bool(failed.error)) == ("failed", None, True)


def test_force_tunes_again(store: Store) -> None:
    with ThreadPoolExecutor(1) as executor:
        for force, outcome in ((False, "sweep"), (False, "stored"), (True, "sweep")):
            assert [result.outcome for result in tunedb.warm_many(PROBLEMS[:1], executor, force=force)] == [outcome]
    assert len(list(store.iter_sweeps())) == 2


def test_an_executor_that_breaks_keeps_what_was_done_and_reports_the_rest(store: Store, tmp_path: Path) -> None:
    (hangs := tmp_path / "hangs").touch()
    problems = [{"kernel": NAME, "b1": 0.001}, {"kernel": NAME, "b1": 0.001, "b2": f"{HANG_WHILE}{hangs}"}]
    problems += [{"kernel": NAME, "b4": 0.001}]

    def break_it(result: tunedb.WarmResult) -> None:
        if result.outcome == "sweep":
            for process in list(executor._processes.values()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid or 0, signal.SIGKILL)

    with processes(2, tmp_path) as executor:
        results = tunedb.warm_many(problems, executor, on_result=break_it)
    outcomes = Counter(result.outcome for result in results)
    assert outcomes["sweep"] >= 1
    assert outcomes["lost"] >= 1
    assert sum(outcomes.values()) == 3
    lost = next(result for result in results if result.outcome == "lost")
    assert lost.error is not None
    assert lost.error.startswith("BrokenProcessPool: ")
    assert {sweep.uid for sweep in store.iter_sweeps()} >= {result.sweep.uid for result in results if result.sweep}
    late = tunedb.warm_many(PROBLEMS, executor)  # it takes nothing more
    assert [(result.outcome, bool(result.error)) for result in late] == [("lost", True)] * 4


class Answers(Executor):
    """An executor whose every job ends at once, with what a function returns or raises."""

    def __init__(self, answer: Callable[[], Any] = lambda: None) -> None:
        self.answer = answer

    def submit(self, function: Any, /, *arguments: Any, **keywords: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()
        try:
            future.set_result(self.answer())
        except ZeroDivisionError as error:
            future.set_exception(error)
        return future


def test_a_result_is_stored_once_and_one_that_can_not_be_read_is_lost(store: Store) -> None:
    answer, other = run_job(request(PROBLEMS[0])), run_job(request(PROBLEMS[1]))
    text = answer["sweeps"]
    unreadable: list[Callable[[], Any]] = [
        lambda: None,
        dict,
        lambda: answer | {"sweeps": text.replace("planted", "implanted")},
        lambda: answer | {"sweeps": text[:-20]},
        lambda: 1 / 0,
        lambda: other,  # the sweep of another problem
    ]
    for raised in unreadable:
        [result] = tunedb.warm_many(PROBLEMS[:1], Answers(raised))
        assert (result.outcome, result.config, bool(result.error)) == ("lost", None, True)
    assert result.error == "ImportRejected: expected sweeps of one problem, got that of another one"
    for _ in range(2):  # an answer that arrives twice
        [result] = tunedb.warm_many(PROBLEMS[:1], Answers(lambda: answer))
        assert result.outcome == "sweep"
    assert len([sweep for sweep in store.iter_sweeps() if sweep.problem == result.problem]) == 1


def request(problem: Mapping[str, Any], **facts: str) -> dict[str, Any]:
    """The request for a problem, of a client like this process, but for these facts."""
    from tunedb.fleet.job import request_of
    from tunedb.fleet.versions import facts_of

    arguments = {name: value for name, value in problem.items() if name != "kernel"}
    ours = facts_of([NAME]) | facts
    return request_of(KERNEL.problem(arguments), arguments, ours, force=False, step=60.0)


class Job:
    """A job of an engine whose futures are not Python's, as submitit's are."""

    def __init__(self, thread: threading.Thread, answers: list[Any]) -> None:
        self.thread, self.answers = thread, answers

    def done(self) -> bool:
        return not self.thread.is_alive()

    def result(self) -> Any:
        self.thread.join()
        return self.answers[0]


class Engine:
    """An engine that is no `concurrent.futures.Executor`."""

    def submit(self, function: Any, /, *arguments: Any) -> Job:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(function(*arguments)))
        thread.start()
        return Job(thread, answers)


def test_an_engine_with_futures_of_its_own_serves_as_well(store: Store) -> None:
    assert [result.outcome for result in tunedb.warm_many(PROBLEMS[:2], Engine())] == ["sweep"] * 2
    assert len(list(store.iter_sweeps())) == 2


@pytest.mark.parametrize("fact", ["tunedb", "Python", f"kernel {NAME}"])
def test_a_worker_that_differs_refuses_and_names_itself_and_both_values(store: Store, fact: str) -> None:
    other = "ab" * 32 if fact.startswith("kernel") else "0.0.1"
    answer = run_job(request(PROBLEMS[0], **{fact: other}))
    assert (answer["outcome"], answer["sweeps"]) == ("refused", "")
    assert f"{os.uname().nodename} (process {os.getpid()}) differs: {fact}: " in answer["error"]
    assert f" there, {'ab' * 6 if fact.startswith('kernel') else other} here" in answer["error"]
    assert list(store.iter_sweeps(finished=False)) == []


OTHER_KERNEL = """
from tests.planted import Planted
from tunedb.core.problem import Problem
class Other(Planted):
    name, hash = "other", "ef" * 32
    def problem(self, arguments):
        return Problem.of(self.name, **arguments)
KERNEL = Other()
"""


def test_problems_of_several_kernels_are_tuned_in_one_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry_points = tmp_path / "site" / "planted-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "other = other_kernel:KERNEL\n")
    (tmp_path / "site" / "other_kernel.py").write_text(OTHER_KERNEL)
    exec(OTHER_KERNEL, names := {})
    monkeypatch.setattr(registry, "kernel_named", {NAME: KERNEL, "other": names["KERNEL"]}.__getitem__)
    with processes(2, tmp_path) as executor:
        results = tunedb.warm_many([PROBLEMS[0], {"kernel": "other", "b1": 0.001}, PROBLEMS[1]], executor)
    assert [(result.outcome, result.error) for result in results] == [("sweep", None)] * 3
    assert [result.problem.kernel for result in results] == [NAME, "other", NAME]


def test_a_worker_without_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(PROBLEMS[0])
    asked["kernel"] = "nothing"
    answer = run_job(asked | {"facts": {"kernel nothing": "ab"}})
    assert answer["outcome"] == "refused"
    assert "unusable (No kernel is called 'nothing'.)" in answer["error"]


def test_a_worker_whose_store_can_not_be_used_tunes_all_the_same(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ProcessPoolExecutor(
        1, get_context("fork"), initializer=use_store, initargs=(str(tmp_path / "file" / "t.db"),)
    ) as executor:
        [result] = tunedb.warm_many(PROBLEMS[:1], executor)
    assert result.outcome == "sweep"
    assert len(list(store.iter_sweeps())) == 1


def test_a_store_that_takes_nothing_for_a_while_gets_all_results_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put, failures = Store.put_sweeps, iter([StoreUnavailable("full"), StoreUnavailable("full")])

    def put_sweeps(self: Store, sweeps: Any) -> Any:
        for error in failures:
            raise error
        return put(self, sweeps)

    with processes(1, tmp_path) as executor:
        monkeypatch.setattr(Store, "put_sweeps", put_sweeps)
        heard: list[str] = []
        tunedb.warm_many(PROBLEMS, executor, on_result=lambda result: heard.append(result.outcome))
        assert heard == ["sweep"] * 4
        assert len(list(store.iter_sweeps())) == 4
        failures = iter([StoreUnavailable("full")] * 9)
        with pytest.raises(StoreUnavailable):
            tunedb.warm_many(PROBLEMS, executor, force=True)


def test_an_interrupt_ends_the_jobs_of_this_process(store: Store, tmp_path: Path) -> None:
    (hangs := tmp_path / "hangs").touch()
    problems = [PROBLEMS[0], {"kernel": NAME, "b2": 0.001, "b4": f"{HANG_WHILE}{hangs}"}]

    def interrupt(result: tunedb.WarmResult) -> None:
        assert eventually(
            lambda: any(s.trials for s in store.iter_sweeps(finished=False, with_trials=True) if not s.config), 60
        )
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor(2) as executor:
        tunedb.warm_many(problems, executor, on_result=interrupt)
    assert Counter(sweep.status for sweep in store.iter_sweeps(finished=False)) == {"tuned": 1, "aborted": 1}


def test_the_children_of_a_workplace_end_once_it_is_idle(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(places, "IDLE_S", 0.05)
    run_job(request(PROBLEMS[0]))
    assert eventually(lambda: not workplace()._supervisors, 60)
    assert run_job(request(PROBLEMS[1]))["outcome"] == "sweep"


@pytest.mark.parametrize(
    ("problem", "error", "said"),
    [
        ({"kernel": "nothing"}, SettingError, "No kernel is called 'nothing'"),
        (Problem.of("nothing", n=1), SettingError, "No kernel is called 'nothing'"),
        ({"kernel": KERNEL}, TypeError, "expected the name of a registered kernel"),
        ("planted", TypeError, "expected mappings"),
    ],
)
def test_what_is_no_problem_is_refused_before_anything_is_tuned(
    store: Store, problem: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        tunedb.warm_many([PROBLEMS[0], problem], Answers())
    assert list(store.iter_sweeps(finished=False)) == []


def test_a_process_that_may_not_write_is_refused() -> None:
    with tunedb.using(mode="read"), pytest.raises(SettingError, match="Mode read writes nothing"):
        tunedb.warm_many(PROBLEMS)
    with tunedb.using(store="sqlite://"), pytest.raises(SettingError, match="a store that other processes can open"):
        tunedb.warm_many(PROBLEMS)


def test_nothing_to_do_is_nothing_done(store: Store) -> None:
    assert tunedb.warm_many([]) == tunedb.warm_many([], Answers()) == []
