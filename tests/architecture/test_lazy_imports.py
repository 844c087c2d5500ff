"""What an import or a call must not load, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import runs_interpreter
from tests.faults import calls
from tests.faults.parts import output_of
from tests.store.bundled import write
from tunedb.store import open_store

HEAVY = ("torch", "triton", "sqlalchemy", "alembic", "typer", "rich", "filelock", "platformdirs", "numpy")

FORGET = f"""
import sys
for name in list(sys.modules):
    if name.split(".")[0] in {forked.TOPS}:
        del sys.modules[name]
"""


def loaded(program: str, names: tuple[str, ...] = HEAVY, **environment: str) -> set[str]:
    """Those of `names` that the program has loaded at its end."""
    program += f"\nimport sys; print('LOADED', *[name for name in {names!r} if name in sys.modules])"
    if "import torch" in program:  # which takes seconds; what the fork has besides is forgotten there
        done = forked.run(["-c", FORGET + program], env=os.environ | environment)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.splitlines()[-1].split()[1:])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_tunedb_loads_nothing_heavy() -> None:
    assert loaded("import tunedb; tunedb.Problem, tunedb.Config, tunedb.Device, tunedb.configure, tunedb.pow2") == set()


def test_opening_an_up_to_date_store_loads_no_alembic(tmp_path: Path) -> None:
    program = f"from tunedb.store import open_store; open_store({str(tmp_path / 't.db')!r})"
    assert "alembic" in loaded(program)
    assert loaded(program, ("alembic", "torch", "triton")) == set()


CALL = """
import torch
from tunedb.kernels import avg_pool1d
x = torch.ones(2, 3, 16)
"""


@runs_interpreter
def test_a_call_that_needs_no_store_loads_none_of_it(tmp_path: Path) -> None:
    environment = {"TRITON_INTERPRET": "1", "TUNEDB_STORE": str(tmp_path / "t.db"), "TUNEDB_MODE": "off"}
    program = CALL + "avg_pool1d(x, 4); avg_pool1d(x, 4)"
    assert loaded(program, ("sqlalchemy", "alembic", "filelock"), **environment) == set()
    assert list(tmp_path.iterdir()) == []


@runs_interpreter
def test_a_remembered_call_touches_no_store_no_lock_and_no_environment(tmp_path: Path) -> None:
    environment = {"TRITON_INTERPRET": "1", "TUNEDB_STORE": str(tmp_path / "t.db")}
    program = CALL + (
        "avg_pool1d(x, 4)\n"
        "import os, sys\n"
        "class Shut(dict):\n"
        "    def __getitem__(self, key): raise AssertionError(f'the environment was read: {key}')\n"
        "    get = __contains__ = __getitem__\n"
        "import tunedb.tuner.session as session\n"
        "from tunedb import settings\n"
        "session.active = settings.current = None\n"
        "def audit(event, arguments):\n"
        "    if watching and event.startswith(('open', 'sqlite3', 'os.', 'socket', 'subprocess')):\n"
        "        raise AssertionError(f'{event} {arguments}')\n"
        "watching = False\n"
        "sys.addaudithook(audit)\n"
        "from tunedb.kernels.avg_pool import plans\n"
        "((key, (is_alike, _)),) = plans.last_forwards.items()\n"
        "plans.last_forwards[key] = is_alike, lambda x: None  # the interpreter opens files itself\n"
        "os.environ, real = Shut(), os.environ\n"
        "watching = True\n"
        "avg_pool1d(x, 4)\n"
        "watching, os.environ = False, real\n"
    )
    assert loaded(program, ("sqlalchemy",), **environment) == {"sqlalchemy"}  # of the first call, which tunes


HITS = """
import atexit, sys
HEAVY = "sqlalchemy", "alembic", "typer", "rich", "psycopg", "filelock", "tunedb.sweep.trials"
atexit.register(lambda: print(*{name for name in HEAVY if name in sys.modules} - before))  # after tunedb's own
import tunedb.settings
from tests.faults import calls
before = set(sys.modules)  # of the fakes
hits = calls.tuner(store=sys.argv[1], mode=sys.argv[2])
assert [calls.call(hits, n)[1] for n in (1, 2, 1)] == ["store", "store", "memory"]
if len(sys.argv) > 3:
    hits.close()
"""


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("mode", ["tune", "strict"])
def test_hits_load_neither_sqlalchemy_nor_what_tunes_up_to_the_end_of_the_process(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "t.db"
    tuner = calls.tuner(store=str(path))
    assert [calls.call(tuner, n)[1] for n in (1, 2)] == ["sweep", "sweep"]
    tuner.close()
    assert output_of(HITS, path, mode, "and writes its counts", is_anew=True).split() == []
    with open_store(str(path)) as store:
        assert store.usage.by_source() == {"sweep": 2} | ({"store": 2} if mode == "tune" else {})


BUNDLED = """
import sys
HEAVY = "sqlalchemy", "alembic", "typer", "rich", "psycopg", "filelock", "tunedb.sweep.trials"
import tunedb.settings
from tests.faults import calls
before = set(sys.modules)  # of the fakes
hits = calls.tuner(store=sys.argv[1], mode=sys.argv[2])
assert [calls.call(hits, n)[1] for n in (1, 2, 1)] == ["store", "store", "memory"]
print(*{name for name in HEAVY if name in sys.modules} - before)
"""


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("mode", ["tune", "strict"])
@pytest.mark.parametrize("is_new", [True, False])
def test_calls_that_a_bundle_answers_load_neither_sqlalchemy_nor_what_tunes(
    tmp_path: Path, mode: str, is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = calls.tuner(store=str(tmp_path / "t.db"))
    assert [calls.call(tuner, n)[1] for n in (1, 2)] == ["sweep", "sweep"]
    tuner.close()
    with open_store(str(tmp_path / "t.db")) as store:
        write(tmp_path / "b.db", store.iter_sweeps(with_trials=True))
    other = tmp_path / "other.db"
    if not is_new:
        open_store(str(other)).close()
    monkeypatch.setenv("TUNEDB_BUNDLES", str(tmp_path / "b.db"))
    assert output_of(BUNDLED, other, mode, is_anew=True).splitlines()[0].split() == []


def test_commands_that_need_no_gpu_load_neither_torch_nor_triton(tmp_path: Path) -> None:
    commands = [
        "--help", "ls", "path -v", "db current", "db upgrade", "db check", "misses", "stats", "warm --help",
        "warm avg_pool1d --help", "lookup avg_pool1d --help",
    ]  # fmt: skip
    program = (
        "import sys\n"
        "from tunedb.cli import run\n"
        f"for command in {commands!r}:\n"
        "    try: run(command.split())\n"
        "    except SystemExit: pass\n"
        "    loaded = {'torch', 'triton'} & set(sys.modules)\n"
        "    assert not loaded, f'{command} loads {loaded}'\n"
    )
    assert loaded(program, ("torch", "triton"), TUNEDB_STORE=str(tmp_path / "t.db")) == set()


def test_the_program_handles_interrupts_before_it_loads_anything_large() -> None:
    program = (
        "import sys\n"
        "from tunedb._internal import interrupts\n"
        "class Watched(Exception): pass\n"
        "def watch(): raise Watched\n"
        "interrupts.watch = watch\n"
        "from tunedb import __main__\n"
        "try: __main__.main()\n"
        "except Watched: pass\n"
    )
    assert loaded(program, ("typing", "re", "typer", "tunedb.cli", "tunedb.settings")) == set()


def test_a_program_is_run_without_loading_the_library() -> None:
    program = (
        "from tunedb import __main__\n"
        "from tunedb.adoption import program\n"
        "program._replace_process = lambda *_: print('started')\n"
        "program.start_quickly(['-q', '--only', 'fla.*', '-m', 'tunedb'])\n"
    )
    names = ("json", "pathlib", "typing", "logging", "subprocess", "tempfile", "tunedb.settings", "tunedb.cli")
    assert loaded(program, (*HEAVY, *names)) == set()


def test_adopting_loads_neither_triton_nor_torch() -> None:
    assert loaded("import tunedb; tunedb.adopt()") == set()


def test_a_report_loads_neither_torch_nor_triton(tmp_path: Path) -> None:
    from tests.reporting.stores import filled

    store = filled(tmp_path / "t.db")
    program = "import tunedb; tunedb.report().html(); assert tunedb.sweeps()"
    assert loaded(program, ("torch", "triton", "alembic", "typer", "rich", "numpy"), TUNEDB_STORE=str(store)) == set()
