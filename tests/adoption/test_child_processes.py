"""Child processes adopt kernels, however a program starts them, and whatever the Python is that they run in."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunedb
from tests.adoption.programs import ROOT, SAY, make_triton, run_python
from tunedb._internal import child_environment
from tunedb._internal.child_environment import FOLDER, VARIABLE

PROCESSES = """
import multiprocessing, os, subprocess, sys
import tunedb

def say():
    exec({say!r})

def start(method):
    process = multiprocessing.get_context(method).Process(target=say)
    process.start()
    process.join()

if __name__ == "__main__":
    tunedb.adopt(only="fla.*")
    for method in ("spawn", "forkserver", "fork"):
        start(method)
    subprocess.run([sys.executable, "-c", {say!r}])
    subprocess.run(["sh", "-c", "exec \\"$0\\" say.py", sys.executable])
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "say.py"])
    os.wait()
"""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in for Triton."""
    return make_triton(tmp_path_factory.mktemp("triton"))


@pytest.fixture
def hooked(triton: Path) -> dict[str, str]:
    """The environment of a child process that is to adopt kernels, with the stand-in for Triton."""
    options = ascii({"selections": [(None, ())], "prefix": sys.prefix})
    return {"PYTHONPATH": os.pathsep.join([FOLDER, str(triton), str(ROOT)]), VARIABLE: options}


def test_each_way_to_start_a_process_reaches_it(tmp_path: Path, triton: Path) -> None:
    (tmp_path / "main.py").write_text(PROCESSES.format(say=SAY))
    (tmp_path / "say.py").write_text(SAY)
    done = run_python("main.py", path=triton, cwd=tmp_path)
    assert (done.stdout.splitlines(), done.stderr) == (["adopted"] * 6, "")


def test_a_child_process_loads_neither_triton_nor_the_library_until_the_program_does(hooked: dict[str, str]) -> None:
    program = (
        "import sys\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'triton', 'tunedb', 'json')])\n"
        f"print({FOLDER!r} in sys.path)\n" + SAY + "print(a.__loader__, a.__spec__.loader)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'sqlalchemy', 'typer')])"
    )
    done = run_python("-c", program, **hooked)
    loaded, is_in_path, adopted, loaders, loaded_later = done.stdout.splitlines()
    assert (loaded, is_in_path, adopted, loaded_later) == ("[]", "False", "adopted", "[]"), done.stderr
    assert loaders.count("SourceFileLoader") == 2
    assert done.stderr == ""


NEXT = {
    "there is none": None,
    "it works": "print('the next one')",
    "it needs what is not there": "import nothing_at_all",
    "it fails": "raise SystemError('mine')",
}


@pytest.mark.parametrize("case", NEXT)
def test_the_next_sitecustomize_runs_as_it_would_without_tunedb(
    tmp_path: Path, hooked: dict[str, str], case: str
) -> None:
    text = NEXT[case]
    if text is not None:
        (tmp_path / "sitecustomize.py").write_text(text)
    rest = os.pathsep.join([str(tmp_path), *hooked["PYTHONPATH"].split(os.pathsep)[1:]])
    program = SAY + "print(sys.path[1:], getattr(sys.modules.get('sitecustomize'), '__file__', None))"
    without = run_python("-c", program, PYTHONPATH=rest)
    # The folder twice, in other words.
    twice = os.pathsep.join([FOLDER, f"{FOLDER}/../site_hook", rest])
    done = run_python("-c", program, **(hooked | {"PYTHONPATH": twice}))
    assert (done.stdout, done.stderr) == (without.stdout.replace("as it was", "adopted"), without.stderr)
    assert "adopted" in done.stdout


# Removes from the path what holds tunedb.
WITHOUT_TUNEDB = (
    f"import os, sys; sys.path[:] = [e for e in sys.path if e and not os.path.exists(os.path.join(e, 'tunedb'))]\n{SAY}"
)
FAULTS = {
    "another Python without tunedb": {"PYTHONPATH": "{hook}:{triton}", VARIABLE: "{{'selections': [(None, ())]}}"},
    "options of another version": {VARIABLE: "{{'selections': 7}}"},
    "options that are cut off": {VARIABLE: "{{'selections': [("},
    "options that are no text": {VARIABLE: "\udcff"},
    "no options": {VARIABLE: ""},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_never_reaches_the_program(fault: str, hooked: dict[str, str], triton: Path) -> None:
    changed = {name: text.format(hook=FOLDER, triton=triton) for name, text in FAULTS[fault].items()}
    done = run_python("-c", WITHOUT_TUNEDB, **(hooked | changed))
    assert (done.returncode, done.stdout, done.stderr) == (0, "as it was\n", "")


@pytest.mark.parametrize("text", ["{'selections': 7}", "{'selections': [(", "[]", "\udcff"])
def test_options_that_cannot_be_read_do_not_fail_an_adoption(
    text: str, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with tunedb.adopt(only="a.*"):
        assert selections_of_children() == [(("a.*",), ())]
    monkeypatch.delenv(VARIABLE)


def test_the_same_python_takes_the_tunedb_of_its_parent(hooked: dict[str, str], triton: Path) -> None:
    """As in `python -m tunedb run /elsewhere/script.py` in a checkout that is not installed."""
    hooked["PYTHONPATH"] = f"{FOLDER}:{triton}"
    done = run_python("-c", WITHOUT_TUNEDB, cwd=triton, **hooked)
    assert (done.stdout, done.stderr) == ("adopted\n", "")


def test_a_zip_file_of_tunedb_reaches_child_processes_too(tmp_path: Path, hooked: dict[str, str], triton: Path) -> None:
    packed = tmp_path / "tunedb.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in ROOT.joinpath("tunedb").rglob("*.py"):
            file.write(path, path.relative_to(ROOT))
    hooked["PYTHONPATH"] = f"{packed}/tunedb/adoption/site_hook:{triton}"
    done = run_python("-c", WITHOUT_TUNEDB, cwd=triton, **hooked)
    assert (done.stdout, done.stderr) == ("adopted\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "adopted"), (("-P",), "adopted"), (("-s",), "adopted")]
    + [((option,), "as it was") for option in ("-E", "-I", "-S")],
)
def test_options_of_python_that_hide_the_environment_are_not_reached(
    words: tuple[str, ...], said: str, hooked: dict[str, str], triton: Path
) -> None:
    done = run_python(*words, "-c", f"import sys; sys.path.append({str(triton)!r})\n{SAY}", cwd=triton, **hooked)
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


def test_an_emptied_environment_is_not_reached(triton: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SAY], env={}, cwd=triton, capture_output=True, text=True, check=True)
    assert done.stdout == "as it was\n"


def test_a_read_only_folder_and_another_encoding_are_no_hindrance(hooked: dict[str, str], tmp_path: Path) -> None:
    copied = tmp_path / "\u00e9t\u00e9" / "site_hook"
    shutil.copytree(FOLDER, copied, ignore=shutil.ignore_patterns("__pycache__"))
    copied.chmod(0o500)
    hooked["PYTHONPATH"] = os.pathsep.join([str(copied), *hooked["PYTHONPATH"].split(os.pathsep)[1:]])
    done = run_python("-c", SAY, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", **hooked)
    assert (done.stdout, done.stderr) == ("adopted\n", "")


ENVIRONMENT = ("PYTHONPATH", VARIABLE)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment in which nothing is set."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    yield
    assert VARIABLE not in os.environ


def selections_of_children() -> object:
    """The patterns that child processes get."""
    return ast.literal_eval(os.environ[VARIABLE])["selections"]


def test_what_this_process_was_started_with_stays_known_and_is_handed_on(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "{'selections': [('a.*', ())], 'verbose': True}")
    started_with = child_environment.options()
    with tunedb.adopt(only="b.*"):
        assert child_environment.options() == started_with  # also if Triton is imported only now
        assert selections_of_children() == [("a.*", ()), (("b.*",), ())]
        assert ast.literal_eval(os.environ[VARIABLE])["verbose"]
    monkeypatch.delenv(VARIABLE)


@pytest.mark.parametrize("path", [None, "", "a::b", f"a:{FOLDER}"])
def test_an_adoption_that_ends_leaves_no_environment_behind(
    environment: None, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    before = dict(os.environ)
    with tunedb.adopt(only="a.*"):
        assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == FOLDER
        assert os.environ["PYTHONPATH"].split(os.pathsep).count(FOLDER) == 1
    assert dict(os.environ) == before


def test_adoptions_that_end_in_any_order_leave_those_in_force_to_child_processes(environment: None) -> None:
    before = dict(os.environ)
    first, second = tunedb.adopt(only="a.*"), tunedb.adopt(skip=["b.*"])
    third = tunedb.adopt(children=False)
    assert selections_of_children() == [(("a.*",), ()), (None, ("b.*",))]
    first.undo()
    assert selections_of_children() == [(None, ("b.*",))]
    second.undo()
    assert dict(os.environ) == before
    third.undo()


def test_adoptions_of_many_threads_leave_nothing_behind(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the environment nor on Triton's class, which a fixture compares."""
    before, interval = dict(os.environ), sys.getswitchinterval()

    def work() -> None:
        for _ in range(100):
            tunedb.adopt(only="a.*").undo()

    threads = [threading.Thread(target=work) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert dict(os.environ) == before


def test_processes_of_tunedb_itself_adopt_nothing(environment: None) -> None:
    with tunedb.adopt():
        assert VARIABLE in os.environ
        assert VARIABLE not in child_environment.environment_without()


def test_what_the_program_puts_into_the_path_meanwhile_stays(environment: None) -> None:
    with tunedb.adopt():
        os.environ["PYTHONPATH"] = f"/mine:{os.environ['PYTHONPATH']}"
    assert os.environ["PYTHONPATH"] == "/mine"
    del os.environ["PYTHONPATH"]


def test_a_folder_that_the_path_cannot_hold_is_logged(
    environment: None, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_environment, "FOLDER", "/odd:name")
    before = dict(os.environ)
    with tunedb.adopt():
        assert dict(os.environ) == before
    assert "Kernels of child processes are not adopted: PYTHONPATH can't hold" in records.text
