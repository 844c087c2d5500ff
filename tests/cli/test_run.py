"""`tunedb run`: a program runs as Python runs it, its kernels are adopted, and a mistake is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.adoption.programs import ROOT, SAY, make_triton, run_python
from tests.cli.conftest import Cli
from tests.conftest import runs_interpreter
from tunedb._internal import child_environment
from tunedb.adoption import command_line, program, report
from tunedb.adoption.listing import Adopted

TUNEDB = ("-m", "tunedb", "run")
# What a program sees of how it was started.
WHOLE = """
import os, signal, sys
main = sys.modules["__main__"]
print(sys.argv, sys.path, __name__, globals().get("__file__"), __package__, main.__dict__ is globals(), os.getcwd())
print(getattr(__spec__, "name", None), type(__loader__).__name__, sys.flags.safe_path)
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdin.read(), sorted(vars(main)))
print("on stderr", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of every kind, and the stand-in for Triton."""
    top = make_triton(tmp_path_factory.mktemp("programs"))
    (top / "app").mkdir()
    (top / "app" / "__init__.py").write_text("")
    for name in ("whole.py", "app/__main__.py", "app/mine.py"):
        (top / name).write_text(WHOLE)
    (top / "say.py").write_text(SAY)
    with zipfile.ZipFile(top / "packed.pyz", "w") as packed:
        packed.writestr("__main__.py", WHOLE)
    return top


@pytest.mark.parametrize(
    "words",
    [
        ("whole.py", "--report", "-m", "x"), ("-m", "app.mine", "--only", "x"), ("-m", "app", "a"), ("app", "a b"),
        ("packed.pyz",), ("-c", WHOLE, "-q"), ("-mapp.mine", "é"), ("./whole.py", "--", "-h"),
    ],
    ids=lambda words: " ".join(words)[:20],
)  # fmt: skip
def test_a_program_is_run_as_python_runs_it(words: tuple[str, ...], folder: Path) -> None:
    plain = run_python(*words, cwd=folder, stdin="given")
    ours = run_python(*TUNEDB, "-q", *words, cwd=folder, stdin="given")
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert plain.returncode == 0, plain.stderr


@pytest.mark.parametrize(
    ("code", "ending"),
    [("import sys; sys.exit(7)", 7), ("raise SystemExit('why')", 1), ("import os, signal; os.kill(os.getpid(), 9)", -9),
     ("def f(): 1 / 0\nf()", 1), ("raise KeyboardInterrupt", -signal.SIGINT), ("if", 1),
     ("import sys; sys.excepthook = lambda *found: print(found[0])\n1 / 0", 1)],
)  # fmt: skip
def test_a_program_ends_as_python_ends_it(code: str, ending: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(code)
    plain, ours = (run_python(*words, "program.py", cwd=tmp_path) for words in ((), TUNEDB))
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert ours.returncode == ending


def test_signals_reach_the_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, *TUNEDB, str(tmp_path / "program.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 5


def test_the_program_and_its_children_adopt_kernels(folder: Path) -> None:
    (folder / "parent.py").write_text(
        f"import subprocess\n{SAY}"
        "print(*sys.modules['tunedb'].adoption.selection.in_force[0].patterns, flush=True)\n"
        "subprocess.run([sys.executable, 'say.py'])\nsubprocess.run([sys.executable, '-I', '-c', 'print(5)'])"
    )
    done = run_python(*TUNEDB, "--only", "fla.*", "--only=b", "--skip", "c.*", "parent.py", cwd=folder)
    assert done.stdout.splitlines() == ["adopted", "('fla.*', 'b') ('c.*',)", "adopted", "5"]
    assert done.stderr == ""


def test_the_processes_of_torchrun_adopt_kernels(folder: Path) -> None:
    done = run_python(
        *TUNEDB, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "say.py", cwd=folder
    )
    assert done.stdout.split("\n") == ["adopted", "adopted", ""], done.stderr


def test_options_of_python_are_the_programs_too_unless_they_hide_the_environment(folder: Path) -> None:
    facts = "flags.optimize, sys.flags.isolated, sys.flags.no_user_site, sys._xoptions, sys.stdout.write_through"
    program = f"import sys; print(sys.{facts})\n{SAY}"
    (folder / "flags.py").write_text(program)
    done = run_python("-O", "-s", "-u", "-X", "dev", *TUNEDB, "flags.py", cwd=folder)
    assert done.stdout.splitlines() == ["1 0 0 {'dev': True} True", "adopted"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Expected a Python file, or -m and the name of a module, got nothing. See: tunedb run --help"),
        (("-m",), "Expected the name of a module after -m, got nothing. See: tunedb run --help"),
        (("-c",), "Expected code after -c, got nothing. See: tunedb run --help"),
        (("-m", "nothing.at.all"), "There is no module named 'nothing'. See: tunedb run --help"),
        (("nothing.py", "--help"), "There is no file nothing.py. See: tunedb run --help"),
        (("json",), "There is no file json. To run the module: tunedb run -m json"),
        (("say",), "To run the program on the PATH, if it is written in Python: tunedb run {path}/say"),
        (("--", "-x.py"), "Expected a Python file, got '-x.py'. For a file of that name: tunedb run ./-x.py"),
        (("empty",), "The folder empty has no __main__.py, which Python would run. See: tunedb run --help"),
        (("--bogus", "x.py"), "No such option: --bogus"),
        (("--format", "yaml", "x.py"), "'yaml' is not one of 'table', 'json'"),
        (("--only",), "Option '--only' requires an argument"),
        (("--store", "", "main.py"), "--store: expected a path or a URL, got nothing."),
        (("--skip", "", "main.py"), "skip: expected a pattern such as 'fla.*'"),
        (("-o", "no/folder/report", "main.py"), "no/folder/report: No such file or directory"),
        (("-o", "empty", "main.py"), "empty: Is a directory"),
        (("--record", "empty", "main.py"), "empty: Is a directory"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "_replace_process", lambda *_: pytest.fail("it was started"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "say").write_text("")
    (tmp_path / "bin" / "say").chmod(0o700)
    (tmp_path / "main.py").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program.start_quickly(words)
    answer = cli("run", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said.format(path=tmp_path / "bin") in answer.err
    assert answer.err.startswith("tunedb: ")
    assert answer.err.count("\n") == 1


LINES = [
    "main.py -q --only x", "--only a --only=b --skip c main.py", "-q -m mod --only x", "-v --report -- main.py a",
    "-o out main.py", "--record calls main.py", "--output=out --format json --report -m mod",
    "--store a.db -c code", "--store=sqlite:////x -",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_options_mean_the_same_whether_typer_reads_them_or_not(
    cli: Cli, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "fault_of", lambda _: None)
    monkeypatch.setattr(program, "_replace_process", lambda words, environment: started.append((words, environment)))
    program.start_quickly(line.split())
    assert cli("run", *line.split()).code == 0
    (words, variables), (words_of_typer, variables_of_typer) = started
    assert words == words_of_typer
    assert unlike(variables) == unlike(variables_of_typer)
    assert "a.db" not in line or variables["TUNEDB_STORE"] == str(tmp_path / "a.db")


def unlike(variables: dict[str, str]) -> dict[str, Any]:
    """The variables that were set, without the name of the file for lines of a report."""
    import ast

    options = ast.literal_eval(variables[child_environment.VARIABLE])
    if "report" in options:
        Path(options["report"].pop("lines")).unlink()
    return {"options": options} | {name: variables.get(name) for name in ("PYTHONPATH", "TUNEDB_STORE")}


def test_the_words_of_the_program_stay_as_they_are() -> None:
    assert command_line.split(["-q", "a.py", "--", "-m"]) == (["-q"], ["a.py", "--", "-m"])
    assert command_line.split(["--only", "-m", "-m", "x", "-q"]) == (["--only", "-m"], ["-m", "x", "-q"])
    assert command_line.split(["--", "-m", "x"]) == ([], ["-m", "x"])
    assert command_line.split(["--help"]) == (["--help"], [])


KERNELS = """
import torch, triton, triton.language as tl

CONFIGS = [triton.Config({"BLOCK": 8}), triton.Config({"BLOCK": 16})]

@triton.autotune(CONFIGS, key=[], do_bench=lambda function, quantiles: [1.0])
@triton.jit
def called(x, BLOCK: tl.constexpr):
    tl.store(x, 7)

@triton.autotune(CONFIGS, key=[])
@triton.jit
def idle(x, BLOCK: tl.constexpr):
    pass

x = torch.zeros(1)
called[(1,)](x)
from tunedb import settings
print(x.item(), settings.current().record_calls)
"""


@runs_interpreter
def test_kernels_are_reported_and_their_calls_recorded(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(KERNELS)
    options = ("-o", "report.json", "--format", "json", "--record", "calls.jsonl")
    done = run_python(*TUNEDB, *options, "mine.py", cwd=tmp_path, TRITON_INTERPRET="1")
    assert done.stdout == f"7.0 {tmp_path / 'calls.jsonl'}\n", done.stderr
    assert json.loads((tmp_path / "report.json").read_text()) == [
        {"module": "mine", "kernel": "mine.called", "state": "kept", "reason": "Triton's interpreter runs it",
         "processes": 1},
        {"module": "mine", "kernel": "mine.idle", "state": "not called", "reason": "", "processes": 1},
    ]  # fmt: skip


def test_a_program_without_kernels_has_a_report_too(folder: Path) -> None:
    done = run_python(*TUNEDB, "--report", "-c", "print(5)", cwd=folder)
    assert (done.stdout, done.stderr) == (
        "5\n",
        "tunedb: This program has no kernels that triton.autotune decorates.\n",
    )


def test_the_report_counts_processes_and_takes_the_last_word_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines"
    lines.write_text(
        '[1, "a", "a.f", "not called", ""]\n[2, "a", "a.f", "adopted", ""]\n[1, "a", "a.f", "adopted", ""]\n'
        '[2, "b", "b.g", "kept", "it has\\u001b one config"]\n[2, "cut o'
    )
    report.end({"main": os.getpid() + 1, "lines": str(lines), "format": "table", "output": None})  # a child process
    assert capsys.readouterr().err == ""
    report.end({"main": os.getpid(), "lines": str(lines), "format": "table", "output": None})
    assert capsys.readouterr().err.splitlines() == [
        "tunedb: kernels adopted: 1, kept: 1",
        "kernel  state    processes  reason",
        "a.f     adopted  2",
        "b.g     kept     1          it has\\x1b one config",
    ]
    assert not lines.exists()


def test_a_report_that_can_no_longer_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines").write_text("")
    report.end({"main": os.getpid(), "lines": str(tmp_path / "lines"), "format": "json", "output": str(tmp_path)})
    assert capsys.readouterr().err == f"tunedb: Can't write the report to {tmp_path}: Is a directory.\n"


def test_a_report_whose_lines_are_gone_has_those_of_this_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "adopted", lambda: [Adopted("a", "a.f", "adopted")])
    report.end({"main": os.getpid(), "lines": str(tmp_path / "lines"), "format": "table", "output": None})
    assert capsys.readouterr().err.splitlines()[-1] == "a.f     adopted  1"


@pytest.mark.parametrize(("option", "said"), [("-v", "tunedb: a\ntunedb: b\n"), ("-q", ""), ("--only=x", "b\n")])
def test_the_log_of_the_program_is_as_verbose_as_asked_for(folder: Path, option: str, said: str) -> None:
    (folder / "log.py").write_text(
        "import triton, logging\nlog = logging.getLogger('tunedb')\nlog.info('a')\nlog.warning('b')"
    )
    assert run_python(*TUNEDB, option, "log.py", cwd=folder).stderr == said
