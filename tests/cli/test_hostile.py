"""Rows that someone made to do harm, through `import`, `sync`, look-ups and what people read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, Cli, Kernel, put
from tests.cli.test_explain_mark import ASKED, PROBLEM, tuned
from tests.fakes import config
from tunedb import settings
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.kernels.avg_pool import FORWARD
from tunedb.store import dump, open_store
from tunedb.tuner.nearest import nearest
from tunedb.tuner.session import make_tuner

CONFIGS = [
    Config.of(BLOCK=2**40),
    Config.of(BLOCK=-1),
    Config.of(BLOCK=True),
    Config.of(BLOCK=128.0),
    Config.of(BLOCK=128, num_warps=4),
    Config.of(BLOCK="__import__('os').system('touch harm')"),
    Config.of(**{"BLOCK": 128, "../../harm": "'; DROP TABLE sweep; --"}),
    Config.of(BLOCK="x" * 50_000),
]


def bring(cli: Cli, way: str, sweeps: Sequence[Sweep], tmp_path: Path) -> Answer:
    """Bring sweeps into this test's store, by a file, by another store's URL, or by `sync`."""
    if way == "file":
        dump(sweeps, tmp_path / "theirs.jsonl")
        return cli("import", tmp_path / "theirs.jsonl")
    with open_store(str(tmp_path / "theirs.db")) as theirs:
        theirs.put_sweeps(sweeps)
    url = f"sqlite:///{tmp_path}/theirs.db"
    return cli("import", url) if way == "url" else cli("sync", "--with", url)


@pytest.mark.parametrize("way", ["file", "url", "sync"])
def test_a_config_outside_the_space_is_brought_but_never_chosen(
    cli: Cli, kernels: dict[str, Kernel], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tuned(0)
    bad = [tuned(day, config=one) for day, one in enumerate(CONFIGS, 1)]
    assert bring(cli, way, [*bad, good], tmp_path).code == 0
    assert cli("lookup", *ASKED, "--format", "json").json["uid"] == good.uid
    rows = cli("explain", *ASKED, "--format", "json").json
    assert [row["verdict"] for row in rows] == ["chosen"] + ["passed over"] * len(bad)
    assert {row["why"] for row in rows[1:]} == {"its config is outside today's search space"}
    choice = make_tuner(settings.read({"mode": "read"})).choose(kernels["pool"], PROBLEM, -1)
    assert (choice.config, choice.source) == (config(128), "store")
    with open_store(settings.current().store) as store:
        assert store.marks.get_all() == []
    assert not list(tmp_path.glob("**/harm*"))


def test_a_config_outside_the_space_is_not_lent_either(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(problem=Problem.of("pool", rows=3, kernel_size=2), config=Config.of(BLOCK=2**40)))
    choice = make_tuner(settings.read({"mode": "record"})).choose(kernels["pool"], PROBLEM, -1)
    assert (choice.config, choice.source) == (config(128), "default")


def test_the_kernel_is_not_asked_about_a_problem_with_other_facts_than_its_own() -> None:
    asked = FORWARD.problem({"shape": [2, 4, 64], "kernel_size": 4})
    facts = dict(asked)
    others = [
        Problem.of("avg_pool1d", **{**facts, **change})
        for change in (
            {"kernel_size": "x"},
            {"stride": None},
            {"length": -(2**63)},
            {"more": 1},
            {"stride": 0},
            {"rows": 2**63 - 1},
        )
    ] + [Problem.of("avg_pool1d")]
    sweeps = [
        tuned(problem=other, kernel_hash=FORWARD.hash, config=FORWARD.default(asked, INTERPRETER)) for other in others
    ]
    found = nearest(asked, sweeps, FORWARD.is_alike, lambda _: True, max_distance=1000.0)
    assert found is None or found[0].problem in (others[4], others[5])


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "line", [DEEP, f'{{"uid":{DEEP}', '{"uid":' + "9" * 100_000 + "}", '"' + "x" * 1_000_000, "null", "{}", "\x00"]
)
def test_a_line_that_is_no_sweep_is_refused_in_one_short_line(cli: Cli, line: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    dump([tuned()], path)
    first, _, last = path.read_text().splitlines()
    path.write_text(f"{first}\n{line}\n{last}\n")
    answer = cli("import", path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert len(answer.err) < 1000
    assert not (tmp_path / "tunedb.db").exists()


def test_what_people_read_does_not_steer_their_terminal(cli: Cli, kernels: dict[str, Kernel]) -> None:
    steering = "\x1b[2J\x1b]0;title\x07\u202egnp\x9b31m\r\n[red]"
    put(tuned(config=Config.of(BLOCK=steering), problem=Problem.of("pool", rows=steering)), tuned())
    uid = next(row["uid"] for row in cli("ls", "--format", "json").json if row["problem"]["rows"] == steering)
    for command in (("ls",), ("show", uid), ("explain", *ASKED), ("lookup", *ASKED, "--device", steering)):
        answer = cli(*command)
        said = answer.out + answer.err
        assert "gnp" in said or command[0] == "explain"
        assert not {char for char in said if not char.isprintable() and char != "\n"}
