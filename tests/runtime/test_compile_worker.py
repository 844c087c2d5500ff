"""The compile worker fills Triton's cache, and whatever happens to it, nothing waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from triton import knobs
from triton.backends.compiler import GPUTarget

from tests.fakes import FakeKernel, FakeWorkload, config
from tests.runtime.jobs import fill, job
from tests.sweep.test_trials import sweep
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.runtime.compat_triton import hash_triton, is_interpreted
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.compile_pool import CompilePool
from tunedb.runtime.compile_worker import CompileWorker

IMPORTS = "import time; from tests.runtime.jobs import job; from tunedb.runtime.compile_worker import CompileWorker"

LONG_S = 120  # for what ends at once, on a busy machine

pytestmark = pytest.mark.skipif(is_interpreted(fill), reason="the interpreter compiles nothing")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's cache for this test, empty; a compile worker may take its time to start, on a busy machine."""
    monkeypatch.setattr("tunedb.runtime.compile_worker.START_TIMEOUT_S", 300.0)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    assert knobs.cache.dir == str(tmp_path / "triton")  # no test before has set the knob itself, which would stay
    return tmp_path / "triton"


@pytest.fixture
def compiler(cache: Path) -> Iterator[CompileWorker]:
    made = CompileWorker(2)
    yield made
    made.close()


def compiled(cache: Path) -> set[str]:
    return {path.parent.name for path in cache.rglob("fill.cubin")}


def test_what_it_compiles_is_found_in_the_cache(compiler: CompileWorker, cache: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compiler.compile, [job(64), job(128), job(256)]))
    found = compiled(cache)
    assert len(found) == 3
    assert job(128).compile(fill).metadata.num_warps == 4
    assert compiled(cache) == found  # under the very same keys


def test_it_imports_neither_torch_nor_what_kernels_do_not_need() -> None:
    told = (
        "import sys, tunedb.runtime.compile_worker, tunedb.kernels.avg_pool.jit; "
        "print([name for name in ('torch', 'numpy', 'sqlalchemy', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_it_cannot_compile_is_answered_all_the_same(compiler: CompileWorker, cache: Path) -> None:
    wrong: list[dict[str, Any]] = [{"module": "no.such.module"}, {"name": "nothing"}, {"signature": {"y": "*fp32"}}]
    for changes in wrong:
        compiler.compile(job(64, **changes))
        assert compiled(cache) == set()
    compiler.compile(job(64))
    assert len(compiled(cache)) == 1


def test_what_cannot_be_sent_is_left_to_the_caller(compiler: CompileWorker) -> None:
    compiler.compile(job(64, options={"hook": lambda: None}))


def test_nobody_waits_for_one_that_was_killed(compiler: CompileWorker, cache: Path) -> None:
    compiler._process.kill()
    compiler.compile(job(64))
    compiler._process.wait()
    compiler.compile(job(128))
    assert len(compiled(cache)) <= 2


def processes_of(compiler: CompileWorker) -> list[int]:
    """The numbers of the process and its forks."""
    number = compiler._process.pid
    return [number, *map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())]


def wait_for_the_end(numbers: list[int]) -> None:
    deadline = time.monotonic() + LONG_S
    while any(Path(f"/proc/{one}").exists() for one in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_ends_with_its_forks_when_it_is_closed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    made = CompileWorker(2)
    made.compile(job(64))
    numbers = processes_of(made)
    assert len(numbers) == 3
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    made.close()
    wait_for_the_end(numbers)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert made.compile(job(128)) is None  # nobody is there, and nobody waits


def test_what_it_was_compiling_when_it_was_closed_leaves_no_process_behind(cache: Path) -> None:
    told = (
        "import ctypes, os, threading; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "  # orphans become its children
        f"{IMPORTS}; made = CompileWorker(4); made.compile(job(64)); "
        "threads = [threading.Thread(target=made.compile, args=(job(64 << n),)) for n in range(1, 5)]; "
        "[one.start() for one in threads]; time.sleep(0.05); made.close(); [one.join() for one in threads]; "
        f"[(os.waitpid(-1, os.WNOHANG), time.sleep(0.05)) for _ in range({LONG_S * 20})]"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=environment, check=False)
    assert "ChildProcessError" in done.stderr  # there is nobody to wait for


def test_a_fork_that_crashes_costs_what_it_was_at_and_no_more(compiler: CompileWorker, cache: Path) -> None:
    compiler.compile(job(64))
    forks = processes_of(compiler)[1:3]
    for number in forks:
        os.kill(number, signal.SIGKILL)
    compiler.compile(job(128))  # whether that one is compiled is a matter of chance
    wait_for_the_end(forks)  # then the pool has seen it
    for block in (256, 512):
        assert compiler.compile(job(block)) is not None


def test_one_that_is_never_ready_is_given_up(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tunedb.runtime.compile_worker.START_TIMEOUT_S", 1.0)
    monkeypatch.setattr("tunedb.runtime.compile_worker._EXIT_TIMEOUT_S", 1.0)
    made = CompileWorker(2)
    assert made.compile(job(64, module="endless")) is None
    wait_for_the_end([made._process.pid])


def killed_parent_leaves_nobody(told: str, pause: float = 0.0) -> None:
    """Run a program that makes a `CompileWorker` and prints its process id, kill it, and wait for the other's end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", told], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        time.sleep(pause)
        parent.kill()
    deadline = time.monotonic() + LONG_S
    while Path(f"/proc/{number}/cmdline").exists() and Path(f"/proc/{number}/cmdline").read_bytes():  # not a zombie
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_is_never_ready_ends_with_its_parent(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(600)\n")
    killed_parent_leaves_nobody(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        f"{IMPORTS}; made = CompileWorker(2); "
        "print(made._process.pid, flush=True); made.compile(job(64, module='endless'))",
        pause=1.0,
    )


def test_an_answer_that_makes_no_sense_ends_it_and_nobody_waits(
    compiler: CompileWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Talking:
        def recv(self) -> object:
            raise ValueError("no sense")

        def close(self) -> None: ...

    monkeypatch.setattr("tunedb.runtime.compile_worker._EXIT_TIMEOUT_S", 0.5)
    compiler.compile(job(64))
    waiting: Future[float | None] = Future()
    assert compiler._waiting is not None
    compiler._waiting[99] = waiting
    real, compiler._connection = compiler._connection, Talking()  # type: ignore[assignment]  # as much as is used
    with pytest.raises(ValueError, match="no sense"):
        compiler._read()
    assert waiting.result(timeout=LONG_S) is None
    real.close()


def test_a_kernel_is_found_in_the_cache_before_and_after_it_is_compiled(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_triton()
    assert not job(64).is_cached()
    job(64).compile()
    with monkeypatch.context() as patch:
        patch.setattr("tunedb.runtime.compile_job.is_hashed", lambda: False)  # as in a new process
        assert not job(64).is_cached()
    assert job(64).is_cached()
    assert not job(128).is_cached()
    assert not job(64, target=GPUTarget("cuda", 90, 32)).is_cached()
    assert not job(64, module="no_such_module").is_cached()
    assert not job(64, options={"num_warps": "many"}).is_cached()
    monkeypatch.setattr("tunedb.runtime.compile_job.compat_cache.is_cached", None)  # an unknown Triton
    assert not job(64).is_cached()


def test_entries_of_the_path_that_python_ignores_are_ignored(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/somewhere"), b"bytes", None])
    made = CompileWorker(1)
    assert made.compile(job(64)) is not None
    made.close()


@pytest.mark.parametrize(("name", "value"), [("executable", None), ("executable", ""), ("frozen", True)])
def test_a_program_that_is_no_interpreter_is_not_started_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    ahead = CompilePool(lambda one: Resources(registers=one["BLOCK"]), [config(1), config(2)], 2, lambda one: job(64))
    assert [ahead.get(config(block))[0].registers for block in (1, 2)] == [1, 2]
    ahead.close()


def test_what_fails_in_the_making_ends_what_was_begun(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Noted(CompileWorker):
        def __init__(self, workers: int) -> None:
            super().__init__(workers)
            made.append(self)

    submit = ThreadPoolExecutor.submit

    def interrupt(pool: ThreadPoolExecutor, work: Any, one: Config) -> Any:
        if one["BLOCK"] < 4:
            return submit(pool, work, one)
        deadline = time.monotonic() + LONG_S
        while not made and time.monotonic() < deadline:
            time.sleep(0.001)
        raise KeyboardInterrupt

    def refuse(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("tunedb.runtime.compile_pool.CompileWorker", Noted)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        CompilePool(lambda one: Resources(), [config(1), config(2), config(4)], 2, lambda one: job(64))
    wait_for_the_end([made[0]._process.pid])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("tunedb.runtime.compile_worker._EXIT_TIMEOUT_S", 0.5)
    children = len(Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text().split())
    with pytest.raises(RuntimeError, match="new thread"):
        CompileWorker(1)
    assert len(Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text().split()) <= children


def test_it_ends_when_its_parent_is_killed(cache: Path) -> None:
    killed_parent_leaves_nobody(
        f"{IMPORTS}; made = CompileWorker(2); made.compile(job(64)); "
        "print(made._process.pid, flush=True); time.sleep(60)"
    )


def test_all_but_the_first_config_are_compiled_by_the_other_process(cache: Path) -> None:
    seen: dict[Config, int] = {}

    def prepare(one: Config) -> Resources:
        seen[one] = len(compiled(cache))
        return Resources()

    blocks = [config(block) for block in (64, 128, 256)]
    ahead = CompilePool(prepare, blocks, 2, lambda one: job(one["BLOCK"]))
    for one in blocks:
        assert ahead.get(one)[0] == Resources()
    ahead.close()
    assert len(compiled(cache)) == 2
    assert seen[blocks[1]] >= 1
    assert seen[blocks[2]] >= 1


def test_one_that_is_compiled_without_end_is_waited_for_no_longer_than_there_is_time() -> None:
    go_on = threading.Event()

    def prepare(one: Config) -> Resources:
        if one["BLOCK"] == 2:
            go_on.wait(30)
        return Resources()

    ahead = CompilePool(prepare, [config(block) for block in (1, 2)], 2)
    assert ahead.is_done(config(1), 20.0)
    assert not ahead.is_done(config(2), 0.05)
    assert not ahead.is_done(config(1), 0.0)  # no time is left
    assert ahead.is_done(config(4), 0.05)  # compiled when it is asked for
    go_on.set()
    assert ahead.is_done(config(2), float("inf"))
    ahead.close()


def test_what_is_left_when_a_sweep_ends_is_not_compiled_here(cache: Path) -> None:
    prepared = []
    blocks = [config(block) for block in (64, 128)]

    def prepare(one: Config) -> Resources:
        prepared.append(one)
        return Resources()

    ahead = CompilePool(prepare, blocks, 2, lambda one: job(one["BLOCK"]))
    ahead.get(blocks[0])
    future = ahead._futures[blocks[1]]
    while not future.running():
        time.sleep(0.001)
    ahead.close()
    with pytest.raises(TrialError, match="ended"):
        future.result(timeout=LONG_S)
    assert prepared == blocks[:1]


def test_without_a_process_threads_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(workers: int) -> CompileWorker:
        raise OSError("no more processes")

    monkeypatch.setattr("tunedb.runtime.compile_pool.CompileWorker", refuse)
    blocks = [config(block) for block in (64, 128)]
    ahead = CompilePool(lambda one: Resources(registers=one["BLOCK"]), blocks, 2, lambda one: job(one["BLOCK"]))
    assert [ahead.get(one)[0].registers for one in blocks] == [64, 128]
    ahead.close()


def test_a_sweep_has_its_configs_compiled_by_the_other_process(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WorkloadWithJobs(FakeWorkload):
        def compile_job(self, config: Config) -> CompileJob:
            return job(64 * config["BLOCK"])

    monkeypatch.setattr("tests.fakes.FakeWorkload", WorkloadWithJobs)
    monkeypatch.setattr("tunedb.sweep.run.workers", lambda: 2)
    done = sweep(FakeKernel({1: 90.0, 2: 50.0, 4: 70.0}))
    assert (done.status, done.config, len(done.trials)) == ("tuned", config(2), 3)
    assert len(compiled(cache)) == 2  # the first one is compiled here, and that is a fake
