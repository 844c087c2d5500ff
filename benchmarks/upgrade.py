"""The guard after an upgrade: the inversions that `tunedb verify --stale` finds, in what share of a re-tune's time.

    python -m benchmarks.upgrade --sample 7:60 --budget 120 --json benchmarks/results/upgrade-planted-h100.json
    python -m benchmarks.upgrade --sample 7:60 --budget 120 --triton /tmp/triton --json upgrade-h100.json

With --triton, a folder with another version of Triton: the problems are tuned with that one (environment A) and with
the installed one (B), and `verify --stale` then judges A's winners in B. What it had to find are the problems whose
winner of A took more than 5 % longer than the winner of B in B's own sweep.

Without it, the environment is made to differ: what was tuned is stored as if another version of Triton had measured it,
and in every third problem the times of the winner and of a config that was more than 5 % slower are exchanged, so that
the slower one is the stored winner. The true times are those of the sweep itself.

Every second problem is its gradient. Each part is a process of its own, and done once: the same command goes on where
it was cut off. Its folder keeps the stores; a part's seconds are those of its processes, with their imports. Those
that are compared compile all that they need themselves.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cut_short import reopen, unfinished_in
from benchmarks.sibling_kernels import pooling
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, TrialStatus
from tunedb.store import open_store

INVERSION = 0.05  # beyond which a winner that turned over has to be found
PLANT_EACH = 3  # problem
SEED = 17  # of which slower config is planted
FORGED = "0.0-before"  # the version of Triton that did not measure what is planted
FOLDER = Path(__file__).parent.parent / "build" / "upgrade"
TURNED = ("overtaken", "beaten", "wrong", "fails")  # verdicts of `verify --stale` on what no longer wins

Row = dict[str, Any]


class Parts:
    """The parts of the benchmark: each is a command of tunedb, run once in a folder, with its seconds."""

    def __init__(self, folder: Path, run: Callable[..., Any] = subprocess.run) -> None:
        self.folder = folder
        self._run = run
        self._state = folder / "state.json"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> Row:
        """What was done: seconds and output by part."""
        return json.loads(self._state.read_text()) if self._state.exists() else {}

    def once(
        self, part: str, command: Sequence[str], store: Path, triton: Path | None = None, count: int | None = None
    ) -> Row:
        """Run a command on a store unless it has ended before; return its seconds and what it printed.

        With `count`, it ends when it has printed so many rows and no sweep in the store was cut short.
        Raises SystemExit if it fails, or has not ended.
        """
        state = self.state
        if not state.get(part, {}).get("is_done"):
            environment = {**os.environ, "TUNEDB_STORE": str(store), "TUNEDB_BUNDLES": "off", "TUNEDB_MODE": "tune"}
            environment.pop("TUNEDB_SHARED", None)
            if triton is None:  # these parts' seconds are compared
                environment["TRITON_CACHE_DIR"] = str(self.folder / "compiled" / part)
            else:
                paths = [str(triton), os.environ.get("PYTHONPATH", "")]
                environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            if count is not None and store.exists():
                with open_store(str(store)) as opened:
                    reopen(opened)
            begun = time.monotonic()
            words = [sys.executable, "-m", "tunedb", *command, "--format", "json"]
            done = self._run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode not in (0, 1):  # 1: something was found, or a problem has no config
                raise SystemExit(f"tunedb {command[0]} ended with exit code {done.returncode}.")
            before = state.get(part, {}).get("seconds", 0.0)
            rows = json.loads(done.stdout)
            short = 0 if count is None else len(unfinished_in(store))
            is_done = count is None or (len(rows) >= count and not short)
            state[part] = {"seconds": round(before + time.monotonic() - begun, 2), "rows": rows, "is_done": is_done}
            self._state.write_text(json.dumps(state))
            if not is_done:
                raise SystemExit(
                    f"{part}: {len(rows) - short} of {count} problems are done. The same command goes on from here."
                )
        return dict(state[part])


def write_list(path: Path, samples: Sequence[str]) -> int:
    """Write the problems as `tunedb warm --from` reads them; return how many."""
    lines = [json.dumps({"kernel": kernel, **arguments}) for kernel, arguments in pooling(samples)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def sweeps_in(path: Path) -> dict[Problem, Sweep]:
    """Return the last complete sweep of each problem in a store, with its trials."""
    with open_store(str(path), create=False) or open_store("sqlite://") as store:
        tuned = [sweep for sweep in store.iter_sweeps(with_trials=True) if sweep.config and sweep.complete]
    return {sweep.problem: sweep for sweep in sorted(tuned, key=lambda sweep: (str(sweep.finished), sweep.uid))}


def planted(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """Return the sweeps as another version of Triton would have left them, every third with an inversion.

    Its winner and a config that was slower by more than 5 % have exchanged their times. Problems without such a config
    stay as they are.
    """
    source, made = random.Random(SEED), []
    for number, sweep in enumerate(sorted(sweeps, key=lambda sweep: (sweep.problem.kernel, sweep.problem.key))):
        forged = dataclasses.replace(
            sweep, uid=f"{number:032x}", environment=dataclasses.replace(sweep.environment, triton=FORGED), marks=()
        )
        winner = next((t for t in sweep.trials if t.config == sweep.config and t.time_us), None)
        slower = [
            trial for trial in sweep.trials
            if trial.status == TrialStatus.OK and trial.time_us and winner is not None and winner.time_us
            and trial.time_us > winner.time_us * (1 + INVERSION)
        ]  # fmt: skip
        if number % PLANT_EACH == 0 and slower and winner is not None:
            loser = source.choice(sorted(slower, key=lambda trial: trial.config.key))
            exchanged = {winner.config: loser.time_us, loser.config: winner.time_us}
            trials = tuple(
                dataclasses.replace(trial, time_us=exchanged.get(trial.config, trial.time_us)) for trial in sweep.trials
            )
            forged = dataclasses.replace(forged, config=loser.config, time_us=winner.time_us, trials=trials)
        made.append(forged)
    return made


def judged(before: Sequence[Sweep], truth: dict[Problem, Sweep], rows: Sequence[Row]) -> list[Row]:
    """Return a row for each stale winner: its true loss, what `verify --stale` said, and the loss that is left."""
    verdicts = {row["uid"]: row for row in rows}
    judgements = []
    for sweep in before:
        verdict, now = verdicts.get(sweep.uid), truth.get(sweep.problem)
        if verdict is None or now is None or sweep.config is None:
            continue
        served = verdict["tuned"] or sweep.config.plain()
        times = {json.dumps(t.config.plain(), sort_keys=True): t.time_us for t in now.trials if t.status == "ok"}
        judgements.append({
            "kernel": sweep.problem.kernel, "problem": sweep.problem.plain(), "verdict": verdict["verdict"],
            "action": verdict["action"], "loss": _loss(times, sweep.config.plain(), now.time_us),
            "loss_after": _loss(times, served, now.time_us),
        })  # fmt: skip
    return judgements


def _loss(times: dict[str, float | None], config: Row, best_us: float | None) -> float | None:
    time_us = times.get(json.dumps(config, sort_keys=True))
    return None if not time_us or not best_us else round(time_us / best_us - 1, 4)


def summary(judgements: Sequence[Row], verify_s: float, tune_s: float) -> Row:
    """Return what was found of the inversions above 5 %, false alarms, the losses that are left, and the time."""
    reached = [row for row in judgements if row["verdict"] != "not reached"]
    left = sum(row["action"] == "left" for row in judgements)  # not reached, or not finished
    is_whole = bool(judgements) and len(reached) == len(judgements) and not left
    known = [row for row in judgements if row["loss"] is not None]
    inverted = [row for row in known if row["loss"] > INVERSION]
    after = sorted(row["loss_after"] for row in known if row["loss_after"] is not None)
    return {
        "problems": len(judgements),
        "reached": len(reached),
        "winner_was_not_timed": len(judgements) - len(known),
        "inversions_above_5_percent": len(inverted),
        "found": sum(row["verdict"] in TURNED for row in inverted),
        "others_that_turned_over": sum(row["verdict"] in TURNED for row in known if row["loss"] <= INVERSION),
        "confirmed": sum(row["action"] == "confirmed" for row in judgements),
        "worst_loss_before": max((row["loss"] for row in known), default=None),
        "worst_loss_after": after[-1] if after else None,
        "verify_s": round(verify_s, 1),
        "full_retune_s": round(tune_s, 1),
        "share_of_a_full_retune": round(verify_s / tune_s, 3) if tune_s and is_whole else None,
        "no_share_because": None if is_whole else f"{left} of {len(judgements)} problems were left",
    }


def main(words: list[str] | None = None, run: Callable[..., Any] = subprocess.run) -> None:
    """Tune, plant or tune again, verify, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrade", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="poolings to tune")
    parser.add_argument("--triton", type=Path, metavar="FOLDER", help="another version of Triton, to put on the path")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds that `verify --stale` may take")
    parser.add_argument("--seconds", type=float, default=500.0, help="that each tuning of the whole list may take")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where stores and results are kept meanwhile")
    parser.add_argument("--json", type=Path, help="where to write figures and rows")
    options = parser.parse_args(words)
    parts, stores = Parts(options.folder, run), {name: options.folder / f"{name}.db" for name in "ab"}
    count = write_list(options.folder / "list.jsonl", options.sample or ["7:60"])
    warm = ["warm", "--from", str(options.folder / "list.jsonl"), "--forward-only", "--budget", str(options.seconds)]
    if options.triton is not None:
        parts.once("tune with the other Triton", warm, stores["a"], options.triton, count)
    tuned = parts.once("tune", warm, stores["b"], count=count)
    truth = sweeps_in(stores["b"])
    before = planted(list(truth.values())) if options.triton is None else list(sweeps_in(stores["a"]).values())
    verified = options.folder / "verified.db"
    if "verify" not in parts.state:
        verified.unlink(missing_ok=True)
        with open_store(str(verified)) as store:
            store.put_sweeps(before)
    found = parts.once("verify", ["verify", "--stale", "--budget", str(options.budget)], verified)
    judgements = judged(before, truth, found["rows"])
    figures = summary(judgements, found["seconds"], tuned["seconds"])
    print(json.dumps(figures, indent=1))
    if options.json:
        any_sweep = next(iter(truth.values()))
        facts = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"), "device": any_sweep.device.name,
            "environment": json.loads(any_sweep.environment.key),
            "before": sorted({sweep.environment.triton for sweep in before}),
            "is_planted": options.triton is None, "command": _command(words),
        }  # fmt: skip
        options.json.write_text(json.dumps({**facts, "summary": figures, "rows": judgements}, indent=1) + "\n")


def _command(words: Sequence[str] | None) -> str:
    shown = (Path(word).name if "/" in word else word for word in (sys.argv[1:] if words is None else words))
    return " ".join(["python -m benchmarks.upgrade", *shown])


if __name__ == "__main__":
    main()
