"""What commands load, what their help shows, and what a shell is offered to complete."""

from __future__ import annotations

import inspect
import json
import shlex
from pathlib import Path

import pytest
import typer

from tests.cli.conftest import Cli, put, run_apart, run_forked
from tests.cli.test_bundle import tuned as shippable
from tests.cli.test_ls_show_lookup_path import PROBLEM, tuned
from tests.conftest import runs_interpreter
from tests.planted import NAME, register_lightly
from tests.store.bundled import write
from tests.store.samples import DEVICE, sweep
from tunedb import settings
from tunedb.cli.application import make_app
from tunedb.cli.commands import COMMANDS, SUMMARIES
from tunedb.cli.examples import EXAMPLES
from tunedb.core.problem import Problem

HEAVY = ("torch", "triton", "sqlalchemy", "alembic", "numpy")
LOADED = f"""
import sys
from tunedb.cli import run
code = run(sys.argv[1:])
print("LOADED", code, *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def loaded(*words: object, **environment: str) -> list[str]:
    """The exit code of a command in a process of its own, and what it has loaded of HEAVY."""
    answer = run_apart("-c", LOADED, *words, **environment)
    return answer.err.splitlines()[-1].split()[1:]


@runs_interpreter
def test_looking_up_what_is_stored_loads_neither_torch_nor_triton_nor_sqlalchemy(tmp_path: Path) -> None:
    put(tuned(), tuned(DEVICE), sweep(problem=Problem.of("mine.add", n=3)))
    cache = {"TUNEDB_CACHE": str(tmp_path / "cache")}
    first = loaded("explain", *PROBLEM, **cache)  # computes the kernel's hash, once
    assert [first[0], *({"torch", "sqlalchemy"} & {*first})] == ["0"]
    for words in (
        ("lookup", *PROBLEM),
        ("lookup", *PROBLEM, "--device", "h200"),
        ("lookup", "add", "--arg", "n=3", "--device", "h200"),
        ("explain", *PROBLEM),
        ("ls", "--where", "kernel_size=4"),
        ("ls", "--format", "json"),
    ):
        assert loaded(*words, **cache) == ["0"], words


@runs_interpreter
def test_neither_do_bundles(tmp_path: Path) -> None:
    shipped = write(tmp_path / "b.db", [shippable(), shippable(DEVICE), sweep(problem=Problem.of("mine.add", n=3))])
    variables = {"TUNEDB_CACHE": str(tmp_path / "cache"), "TUNEDB_BUNDLES": str(shipped)}
    put(sweep(4))
    loaded("explain", *PROBLEM, **variables)  # computes the kernel's hash, once
    for words in (
        ("lookup", *PROBLEM),
        ("lookup", "add", "--arg", "n=3", "--device", "h200"),
        ("explain", *PROBLEM),
        ("ls", "--device", "h200"),
        ("ls", "--format", "json"),
    ):
        assert loaded(*words, **variables) == ["0"], words


def test_tuning_in_workers_loads_neither_torch_nor_triton_in_the_command_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    (shapes := tmp_path / "shapes.jsonl").write_text(json.dumps({"kernel": NAME, "b1": 0.001}))
    for _ in range(2):  # the second time it is stored
        code, *libraries = loaded("warm", "--from", shapes, "--workers", 1, TRITON_INTERPRET="1")
        assert (code, {"torch", "triton"} & {*libraries}) == ("0", set())


def test_a_command_loads_no_other_one() -> None:
    program = (
        "import sys; from tunedb.cli import run; run(['path'])\n"
        "assert 'tunedb.cli.commands.path' in sys.modules and 'tunedb.cli.commands.warm' not in sys.modules\n"
        "assert not {'rich', 'tunedb.core.sweep'} & set(sys.modules)"
    )
    answer = run_apart("-c", program)
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    text = inspect.getdoc(COMMANDS[name].function) or ""
    assert SUMMARIES[name] == " ".join(text.split("\n\n")[0].split())


def test_every_command_has_an_example_that_can_be_typed() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    group = typer.main.get_command(make_app())
    for name, examples in EXAMPLES.items():
        for example in examples:
            program, *words = shlex.split(example)
            assert program == "tunedb"
            command, rest = group, words
            for word in name.split():
                command, rest = command.commands[word], rest[1:]  # type: ignore[attr-defined]
            if name != "run":  # whose own words end where the program's begin
                command.make_context(name, rest)


def test_the_help_ends_with_examples(cli: Cli) -> None:
    out = cli("ls", "--help").out
    assert "tunedb ls --stale --sort age" in out
    assert "Examples" not in cli("lookup", "avg_pool1d", "--help").out  # of other kernels


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lokup"], "Did you mean 'lookup'? See: tunedb --help"),
        (["db", "backu"], "Did you mean 'backup'? See: tunedb db --help"),
        (["lookup", "avgpool1d", "--shape", "1,2,64"], "Did you mean avg_pool1d"),
        (["lookup", "avgpool1d"], "No kernel is called 'avgpool1d'. Did you mean avg_pool1d"),
        (["ls", "--kernel", "ad"], "Did you mean mine.add?"),
        (["ls", "--device", "H20"], None),
        (["ls", "--device", "H2O0"], "No stored device is called 'H2O0'. Did you mean NVIDIA H200?"),
        (["lookup", "avg_pool1d", *PROBLEM[1:], "--device", "H300"], "Did you mean NVIDIA H200"),
    ],
)
def test_a_mistyped_name_gets_a_hint(cli: Cli, words: list[str], said: str | None) -> None:
    put(sweep(problem=Problem.of("mine.add", n=3)), tuned(DEVICE))
    answer = cli(*words)
    assert (said in answer.err) if said else ("Did you mean" not in answer.err)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tunedb loo", ["lookup"]),
        ("tunedb db cur", ["current"]),
        ("tunedb lookup avg_pool1d_", ["avg_pool1d_backward"]),
        ("tunedb lookup mi", ["mine.add"]),
        ("tunedb lookup avg_pool1d --kernel-s", ["--kernel-size"]),
        ("tunedb ls --device H", ["H200"]),
        ("tunedb ls --sort sp", ["speedup"]),
        ("tunedb show a", ["abcabcabcabc"]),
    ],
)
def test_a_shell_completes_commands_options_and_stored_names(line: str, offered: list[str]) -> None:
    put(sweep(problem=Problem.of("mine.add", n=3), uid="abc" * 10 + "ab"))
    words = {"_TUNEDB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    answer = run_forked("-m", "tunedb", **words)
    assert (answer.code, answer.out.split(), answer.err) == (0, offered, "")


def test_completion_of_a_store_that_can_not_be_read_is_silent() -> None:
    Path(settings.current().store).write_text("no database, and longer than the header of one is: " * 9)
    words = {"_TUNEDB_COMPLETE": "complete_bash", "COMP_WORDS": "tunedb ls --device H", "COMP_CWORD": "3"}
    answer = run_forked("-m", "tunedb", **words)
    assert (answer.code, answer.out.strip(), answer.err) == (0, "", "")


def test_the_script_of_a_shell_is_printed() -> None:
    answer = run_apart("-m", "tunedb", "--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="")
    assert "This command" not in answer.err
    assert answer.code in (0, 1, 2)  # 0 from a shell that typer knows


def test_env_says_what_a_report_needs_without_passwords(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_SHARED", "postgresql://me:secret@host/x")
    monkeypatch.setenv("TUNEDB_MODE", "fast")
    monkeypatch.setenv("TUNEDB_BUGDET", "3")
    answer = cli("env", "--format", "json")
    record = answer.json
    assert answer.code == 0
    assert record["settings"]["TUNEDB_SHARED"] == "postgresql://me:***@host/x"
    assert "TUNEDB_MODE" in record["faults"][0]
    assert record["unknown_variables"] == ["TUNEDB_BUGDET"]
    assert record["kernels"] == ["avg_pool1d", "avg_pool1d_backward"]
    assert record["torch"].split()[0].startswith("2.")
    assert record["store_schema"] is None
    assert "secret" not in cli("env").out
