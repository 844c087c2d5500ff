"""The plumbing of the benchmark of adopted kernels: what it runs, how it goes on, and how its figures are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import timing
from benchmarks.adopt import __main__ as adopt
from benchmarks.adopt import child, figures
from benchmarks.adopt.operations import DISTRIBUTIONS, operations, spread, taken
from benchmarks.children import ChildFailed

KERNELS = {"one": ["a"], "two": ["a", "b", "c"], "three": ["d"]}
SECONDS = {"triton": 9.0, "triton_cached": 1.0, "tunedb": 1.02}


def process(side: str) -> dict[str, Any]:
    """What a child of a side would have printed."""
    return {"adopt_s": 0.0, "package_s": 0.5, "calls_s": SECONDS[side], "digests": {"one": 0.25}}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[str, ...]]]:
    """The children that were run: side, step and operations."""
    run: list[tuple[str, str, tuple[str, ...]]] = []

    class Child:
        def __init__(self, words: list[str], environment: dict[str, str]) -> None:
            assert Path(environment["TRITON_CACHE_DIR"]).parent.is_dir()
            self.task = json.loads(words[1])

        def run(self) -> dict[str, Any]:
            side, step, names = self.task["side"], self.task["step"], self.task["operations"]
            run.append((side, step, tuple(names)))
            if names == ["fails"]:
                raise ChildFailed("exit code 1")
            if step == "count":
                kernels = {name: KERNELS[name] for name in names if name in KERNELS}
                return {
                    "kernels": kernels,
                    "failed": {name: "RuntimeError: no" for name in names if name not in KERNELS},
                }
            if step == "steady":
                return {"host_us": {"one": 10.0 if side == "tunedb" else 40.0}}
            return process(side)

        def drop(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(adopt, "Child", Child)
    monkeypatch.setattr(adopt, "operations", lambda package: KERNELS)
    monkeypatch.setattr(adopt, "PREPARING", 1)
    monkeypatch.setattr(timing, "provenance", lambda: {"device": "a GPU"})
    monkeypatch.setattr(timing, "require_gpu", lambda: None)
    return run


def test_second_processes_take_turns_after_one_preparation(
    children: list[tuple[str, str, tuple[str, ...]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "adopt.jsonl"
    words = ["--json", str(path), "--packages", "liger", "--parts", "second", "--kernels", "1", "3", "--pairs", "3"]
    adopt.main(words)
    assert [(side, step) for side, step, _ in children[:2]] == [("triton_cached", "count"), ("tunedb", "run")]
    turns = [(side, names) for side, _, names in children[2:]]
    assert [side for side, _ in turns[:3]] == ["triton", "triton_cached", "tunedb"]
    assert [side for side, _ in turns[3:6]] == ["triton_cached", "tunedb", "triton"]
    assert [side for side, _ in turns[6:8]] == ["triton_cached", "tunedb"]  # the third pair, without the slow side
    assert {names for _, names in turns[:8]} == {("one",)}
    assert {names for _, names in turns[8:]} == {("one", "two")}
    header, *rows = map(json.loads, path.read_text().splitlines())
    assert header["device"] == "a GPU"
    assert [row["called"] for row in rows] == [1] * 3 + [3] * 3
    printed = capsys.readouterr().out
    assert "| liger, 3 kernels | 9.50 s | 1.500 s | 1.520 s | 1.013" in printed
    assert "+20.0 ms" in printed


def test_an_operation_that_its_package_refuses_is_left_out(
    children: list[tuple[str, str, tuple[str, ...]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adopt, "operations", lambda package: {"refused": [], **KERNELS})
    words = ["--json", str(tmp_path / "adopt.jsonl"), "--packages", "fla", "--parts", "second", "--kernels", "60"]
    adopt.main([*words, "--pairs", "1"])
    assert {names for _, _, names in children[1:]} == {("one", "two", "three")}
    assert "fla: refused is left out (RuntimeError: no)" in capsys.readouterr().err


def test_it_goes_on_where_it_stopped(children: list[tuple[str, str, tuple[str, ...]]], tmp_path: Path) -> None:
    path = tmp_path / "adopt.jsonl"
    words = ["--json", str(path), "--packages", "gemlite", "--parts", "second", "cold", "--pairs", "1"]
    adopt.main([*words, "--seconds", "-1"])
    assert not children
    adopt.main(words)
    count = len(children)
    adopt.main(words)
    assert len(children) == count
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == ["provenance", "provenance", "second", "cold"]


def test_an_operation_that_fails_costs_no_other_its_figures(
    children: list[tuple[str, str, tuple[str, ...]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "adopt.jsonl"
    words = ["--json", str(path), "--packages", "gemlite", "--parts", "cold", "--operations", "one", "fails", "two"]
    adopt.main(words)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row.get("operation") for row in rows] == [None, "one", "two"]
    assert "failed: exit code 1" in capsys.readouterr().err


def test_repeated_calls_are_compared_with_the_side_that_keeps_results(
    children: list[tuple[str, str, tuple[str, ...]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt.main(["--json", str(tmp_path / "a.jsonl"), "--packages", "gemlite", "--parts", "steady"])
    assert {side for side, step, _ in children if step == "steady"} == {"triton_cached", "tunedb"}
    assert "| gemlite one | 40.0 µs | 10.0 µs | 0.25 (0.25 to 0.25) |" in capsys.readouterr().out


def test_the_interval_of_fifteen_pairs_is_from_the_fourth_to_the_twelfth() -> None:
    assert figures.interval(range(1, 16)) == (4, 12)
    assert figures.interval([3.0, 1.0]) == (1.0, 3.0)


def test_results_that_differ_are_shown() -> None:
    other = process("tunedb") | {"digests": {"one": 0.5}}
    assert figures.difference([{"triton_cached": process("triton_cached"), "tunedb": other}]) == 0.25


def test_operations_are_taken_until_enough_kernels_are_called() -> None:
    assert taken(KERNELS, 1) == (["one"], 1)
    assert taken(KERNELS, 2) == (["one", "two"], 3)
    assert taken(KERNELS, 60) == (["one", "two", "three"], 4)


def test_kept_configs_are_spread() -> None:
    assert spread("abcde", 2) == ["a", "e"]
    assert spread("abcde", 3) == ["a", "c", "e"]
    assert spread("ab", 3) == ["a", "b"]
    assert spread("abc", 0) == ["a", "b", "c"]


def test_kernels_decorated_meanwhile_keep_fewer_configs() -> None:
    import triton

    @triton.jit
    def kernel(x, BLOCK: triton.language.constexpr):  # type: ignore[no-untyped-def]
        pass

    configs = [triton.Config({"BLOCK": 2**power}) for power in range(4, 9)]
    with child.fewer_configs(2):
        fewer = triton.autotune(configs, key=[])(kernel)
    assert [config.kwargs["BLOCK"] for config in fewer.configs] == [16, 256]
    assert len(triton.autotune(configs, key=[])(kernel).configs) == 5


def test_the_named_operations_exist() -> None:
    assert set(adopt.KERNELS) == set(adopt.COLD) == set(DISTRIBUTIONS)
    for package, names in adopt.COLD.items():
        assert set(names) <= set(operations(package))


def test_only_the_cached_side_keeps_tritons_results(tmp_path: Path) -> None:
    kept = {side: adopt.environment(side, tmp_path, None)["TRITON_CACHE_AUTOTUNING"] for side in adopt.SIDES}
    assert kept == {"triton": "0", "triton_cached": "1", "tunedb": "0"}
