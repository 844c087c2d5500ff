"""The example package: installed as another's would be, warmed, looked up, and right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import runs_interpreter

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SMALL = {
    "example_softmax": {"columns": 40, "rows": 6},
    "example_matmul": {"M": 20, "N": 24, "K": 40},
}

pytestmark = runs_interpreter


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package, from a copy: a build writes into its sources."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", folder / "site", folder / "source"], check=True)
    return folder / "site"


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the package installed, and Triton's interpreter."""
    paths = os.pathsep.join([str(site), str(EXAMPLES.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "TRITON_INTERPRET": "1"}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def rows(site: Path, command: str, kernel: str, **arguments: Any) -> Any:
    """What a command on a kernel's problem prints as JSON."""
    words = [word for name, value in arguments.items() for word in ("--arg", f"{name}={value}")]
    done = python(site, "-m", "tunedb", command, kernel, *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", SMALL)
def test_a_kernel_of_another_package_is_warmed_and_found(site: Path, kernel: str) -> None:
    (tuned,) = rows(site, "warm", kernel, **SMALL[kernel])
    assert tuned["source"] == "sweep"
    (again,) = rows(site, "warm", kernel, **SMALL[kernel])
    assert (again["source"], again["config"]) == ("stored", tuned["config"])
    found = rows(site, "lookup", kernel, **SMALL[kernel])
    assert found["config"] == tuned["config"]
    assert rows(site, "explain", kernel, **SMALL[kernel])[0]["verdict"] == "chosen"
    called = python(
        site,
        "-c",
        "import torch, tunedb\n"
        "from example_kernels.softmax import softmax, softmax_kernel\n"
        "from example_kernels.matmul import matmul, matmul_kernel\n"
        "x, a, b = torch.randn(6, 40), torch.randn(20, 40).half(), torch.randn(40, 24).half()\n"
        "with tunedb.using(mode='strict'):\n"
        "    if 'softmax' in '" + kernel + "':\n"
        "        torch.testing.assert_close(softmax(x), torch.softmax(x, 1))\n"
        "        print(softmax_kernel.best_config.all_kwargs())\n"
        "    else:\n"
        "        torch.testing.assert_close(matmul(a, b), a @ b, rtol=1e-2, atol=1e-2)\n"
        "        print(matmul_kernel.best_config.all_kwargs())\n",
    )
    assert called.returncode == 0, called.stderr
    knobs = eval(called.stdout)
    assert {name: knobs[name] for name in tuned["config"]} == tuned["config"]


def test_a_bucket_is_warmed_as_a_whole(site: Path) -> None:
    (tuned,) = rows(site, "warm", "example_matmul", M=20, N=24, K=40)
    (other,) = rows(site, "warm", "example_matmul", M=31, N=24, K=40)
    assert (tuned["problem"]["M"], other["source"]) == (32, "stored")


def test_what_a_call_missed_is_warmed_afterwards(site: Path) -> None:
    program = "import torch; from example_kernels.softmax import softmax; softmax(torch.randn(6, 40).half())"
    done = python(site, "-c", f"import tunedb; tunedb.configure(mode='record'); {program}")
    assert done.returncode == 0, done.stderr
    done = python(site, "-m", "tunedb", "warm", "--from-misses", "--format", "json")
    (tuned,) = json.loads(done.stdout)
    assert (tuned["source"], tuned["problem"]["x.dtype"]) == ("sweep", "float16")


def test_processes_that_start_together_tune_once(site: Path) -> None:
    program = (
        "import torch\n"
        "from example_kernels.softmax import softmax, softmax_kernel\n"
        "softmax(torch.ones(6, 40))\n"
        "print(softmax_kernel.bench_time > 0, softmax_kernel.best_config.all_kwargs())\n"
    )
    paths = os.pathsep.join([str(site), str(EXAMPLES.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "TRITON_INTERPRET": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0].split(" ", 1) for process in running]
    assert sorted(tuned for tuned, _ in said) == ["False", "False", "True"]
    assert len({config for _, config in said}) == 1


def test_what_was_tuned_moves_to_another_store(site: Path, tmp_path: Path) -> None:
    rows(site, "warm", "example_softmax", **SMALL["example_softmax"])
    files = {kind: str(tmp_path / f"tuned.{kind}") for kind in ("jsonl", "python")}
    for kind, path in files.items():
        assert python(site, "-m", "tunedb", "export", "-o", path, "--format", kind).returncode == 0
    assert "triton.Config({'ROWS': " in Path(files["python"]).read_text()
    other = ("--store", str(tmp_path / "other.db"))
    assert python(site, "-m", "tunedb", "import", files["jsonl"], *other).returncode == 0
    words = ["example_softmax", "--arg", "columns=40", "--arg", "rows=6", "--format", "json", *other]
    done = python(site, "-m", "tunedb", "lookup", *words)
    assert json.loads(done.stdout)["config"]["ROWS"] in (1, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arg", "columns"], "needed NAME=VALUE"),
        (["--arg", "rows=4"], "example_softmax: columns is missing. Its problem takes columns, rows, x_dtype."),
        (["--arg", "columns=40", "--arg", "width=3"], "no argument is called width"),
        (["--arg", "columns=40", "--arg", "x_dtype=float17"], "x_dtype: found 'float17', needed the name of a torch"),
        (
            ["--arg", "columns=zz"],
            "example_softmax: found columns='zz', of which its function makes no call. TypeError",
        ),
        (
            ["--arg", "columns=-4"],
            "example_softmax: found columns=-4, of which its function makes no call. RuntimeError",
        ),
        (["--arg", f"columns={10**20}"], "--arg: columns: "),
        (["--arg", "columns=1e999"], "--arg: columns: "),
        (["--arg", "columns=4", "--arg", "columns=5"], "--arg: found columns twice."),
    ],
)
def test_arguments_that_make_no_problem_are_named(site: Path, words: list[str], said: str) -> None:
    done = python(site, "-m", "tunedb", "warm", "example_softmax", *words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_shapes_file_names_its_kernels(site: Path, tmp_path: Path) -> None:
    lines = [{"kernel": kernel, **arguments} for kernel, arguments in SMALL.items()]
    (tmp_path / "shapes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = python(site, "-m", "tunedb", "warm", "--from", str(tmp_path / "shapes.jsonl"), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [row["source"] for row in json.loads(done.stdout)] == ["sweep", "sweep"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_an_example_stays_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
