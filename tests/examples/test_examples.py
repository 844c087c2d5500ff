"""The example package: registered as a user's would be, warmed, looked up, and right."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.cli.conftest import Cli
from tests.conftest import BROKEN, BROKEN_REASON, INTERPRETED
from tests.planted import register
from tunedb import registry, settings
from tunedb.tuner.copy_rate import bytes_of, operations_of

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SMALL = {
    "example_softmax": {"columns": 40, "rows": 6},
    "example_matmul": {"M": 20, "N": 24, "K": 40},
}

in_the_interpreter = pytest.mark.skipif(
    not INTERPRETED or BROKEN,
    reason=BROKEN_REASON if INTERPRETED else "runs in the interpreter's half of `make test`",
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Python finds the package and its entry points."""
    folder = tmp_path_factory.mktemp("examples")
    kernels = re.findall(r'^(example_\w+) = "(.*)"$', (EXAMPLES / "pyproject.toml").read_text(), re.MULTILINE)
    assert {name for name, _ in kernels} == set(SMALL)
    register(folder, "\n".join(["[tunedb.kernels]", *(f"{name} = {target}" for name, target in kernels)]))
    (folder / "example_kernels").symlink_to(EXAMPLES / "example_kernels")
    return folder


@pytest.fixture
def package(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package in this process."""
    monkeypatch.syspath_prepend(str(site))


def python(site: Path, *arguments: str) -> str:
    """Return what a Python process prints that has the package installed, and Triton's interpreter."""
    paths = os.pathsep.join([str(site), str(EXAMPLES.parent)])
    return forked.run(arguments, env=os.environ | {"PYTHONPATH": paths, "TRITON_INTERPRET": "1"}).stdout


def words_of(arguments: dict[str, Any]) -> list[str]:
    """The options for a problem's arguments."""
    return [word for name, value in arguments.items() for word in ("--arg", f"{name}={value}")]


def rows(cli: Cli, command: str, kernel: str, **arguments: Any) -> Any:
    """What a command on a kernel's problem prints as JSON."""
    answer = cli(command, kernel, *words_of(arguments), "--format", "json")
    assert answer.code == 0, answer.err
    return answer.json


def call(kernel: str) -> dict[str, Any]:
    """Call the kernel on the small problem, check what it computes, and return the config that it ran with."""
    import torch
    from example_kernels.matmul import matmul, matmul_kernel
    from example_kernels.softmax import softmax, softmax_kernel

    x, a, b = torch.randn(6, 40), torch.randn(20, 40).half(), torch.randn(40, 24).half()
    if kernel == "example_softmax":
        torch.testing.assert_close(softmax(x), torch.softmax(x, 1))
        return softmax_kernel.best_config.all_kwargs()
    torch.testing.assert_close(matmul(a, b), a @ b, rtol=1e-2, atol=1e-2)
    return matmul_kernel.best_config.all_kwargs()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed it, by way of a wheel, from a copy: a build writes into its sources."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLES, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", folder / "site", folder / "source"], check=True)
    for path in (folder / "site").rglob("*.db"):
        path.chmod(0o444)
    return folder / "site"


@in_the_interpreter
def test_pip_installs_it_with_its_kernels(installed: Path) -> None:
    words = [*words_of(SMALL["example_softmax"]), "--format", "json"]
    (tuned,) = json.loads(python(installed, "-m", "tunedb", "warm", "example_softmax", *words))
    assert (tuned["kernel"], tuned["source"]) == ("example_softmax", "sweep")


NEVER_MISSES = """
import torch
from example_kernels.matmul import matmul, matmul_kernel
from example_kernels.softmax import softmax
from tunedb import MissError, settings
for columns in (128, 256):
    x = torch.randn(16, columns)
    torch.testing.assert_close(softmax(x), torch.softmax(x, 1))
a, b = torch.randn(20, 64).half(), torch.randn(64, 32).half()  # 20 rows are in the bucket of 32
torch.testing.assert_close(matmul(a, b), a @ b, rtol=1e-2, atol=1e-2)
try:
    softmax(torch.randn(16, 64))
except MissError:
    print("missed", settings.current().mode)
"""


@in_the_interpreter
def test_its_wheel_ships_a_bundle_with_which_calls_never_miss(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "nothing" / "t.db"
    monkeypatch.setenv("TUNEDB_STORE", str(home))
    monkeypatch.setenv("TUNEDB_MODE", "strict")
    assert python(installed, "-c", NEVER_MISSES).split() == ["missed", "strict"]
    rows = json.loads(python(installed, "-m", "tunedb", "ls", "--format", "json"))
    assert {(row["kernel"], row["layer"], row["bundle"]) for row in rows} == {
        (name, "bundle", "example of tunedb-example-kernels") for name in SMALL
    }
    assert not home.parent.exists()


@in_the_interpreter
@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("kernel", SMALL)
def test_a_kernel_of_another_package_is_warmed_and_found(cli: Cli, kernel: str) -> None:
    (tuned,) = rows(cli, "warm", kernel, **SMALL[kernel])
    assert tuned["source"] == "sweep"
    (again,) = rows(cli, "warm", kernel, **SMALL[kernel])
    assert (again["source"], again["config"]) == ("stored", tuned["config"])
    found = rows(cli, "lookup", kernel, **SMALL[kernel])
    assert found["config"] == tuned["config"]
    assert rows(cli, "explain", kernel, **SMALL[kernel])[0]["verdict"] == "chosen"
    with settings.using(mode="strict"):
        knobs = call(kernel)
    assert {name: knobs[name] for name in tuned["config"]} == tuned["config"]


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_a_bucket_is_warmed_as_a_whole(cli: Cli) -> None:
    (tuned,) = rows(cli, "warm", "example_matmul", M=20, N=24, K=40)
    (other,) = rows(cli, "warm", "example_matmul", M=31, N=24, K=40)
    assert (tuned["problem"]["M"], other["source"]) == (32, "stored")


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_what_a_call_missed_is_warmed_afterwards(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from example_kernels.softmax import arguments, softmax

    monkeypatch.setattr(arguments, "__defaults__", (6, torch.float32))  # 4096 rows take the interpreter minutes
    with settings.using(mode="record"):
        softmax(torch.randn(6, 40).half())
    (tuned,) = cli("warm", "--from-misses", "--format", "json").json
    assert (tuned["source"], tuned["problem"]["x.dtype"]) == ("sweep", "float16")


@in_the_interpreter
def test_processes_that_start_together_tune_once(site: Path) -> None:
    program = (
        "import torch\n"
        "from example_kernels.softmax import softmax, softmax_kernel\n"
        "softmax(torch.ones(6, 40))\n"
        "print(softmax_kernel.bench_time > 0, softmax_kernel.best_config.all_kwargs())\n"
    )
    with ThreadPoolExecutor(2) as threads:
        said = [out.split(" ", 1) for out in threads.map(lambda _: python(site, "-c", program), range(2))]
    assert sorted(tuned for tuned, _ in said) == ["False", "True"]
    assert len({config for _, config in said}) == 1


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_what_was_tuned_moves_to_another_store(cli: Cli, tmp_path: Path) -> None:
    rows(cli, "warm", "example_softmax", **SMALL["example_softmax"])
    files = {kind: str(tmp_path / f"tuned.{kind}") for kind in ("jsonl", "python")}
    for kind, path in files.items():
        assert cli("export", "-o", path, "--format", kind).code == 0
    assert "triton.Config({'ROWS': " in Path(files["python"]).read_text()
    other = ("--store", str(tmp_path / "other.db"))
    assert cli("import", files["jsonl"], *other).code == 0
    words = [*words_of(SMALL["example_softmax"]), "--format", "json", *other]
    assert cli("lookup", "example_softmax", *words).json["config"]["ROWS"] in (1, 4)


@in_the_interpreter
@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arg", "columns"], "expected NAME=VALUE"),
        (["--arg", "rows=4"], "example_softmax: columns is missing. Its problem takes columns, rows, x_dtype."),
        (["--arg", "columns=40", "--arg", "width=3"], "no argument is called width"),
        (
            ["--arg", "columns=40", "--arg", "x_dtype=float17"],
            "x_dtype: expected the name of a torch dtype, such as float16, got 'float17'",
        ),
        (
            ["--arg", "columns=zz"],
            "example_softmax: its function can't make a call from columns='zz'. TypeError",
        ),
        (
            ["--arg", "columns=-4"],
            "example_softmax: its function can't make a call from columns=-4. RuntimeError",
        ),
        (["--arg", f"columns={10**20}"], "--arg: columns: "),
        (["--arg", "columns=1e999"], "--arg: columns: "),
        (["--arg", "columns=4", "--arg", "columns=5"], "--arg: columns is given twice."),
    ],
)
def test_arguments_that_make_no_problem_are_named(cli: Cli, words: list[str], said: str) -> None:
    answer = cli("warm", "example_softmax", *words)
    assert answer.code == 2
    assert said in " ".join(answer.err.split())


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_a_fact_is_named_as_it_is_printed() -> None:
    kernel = registry.kernel_named("example_softmax")
    problem = kernel.problem({"columns": 40, "x.dtype": "fp16"})
    assert problem == kernel.problem({"columns": 40, "x_dtype": "float16"})
    assert problem != kernel.problem({"columns": 40})


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_a_shapes_file_names_its_kernels(cli: Cli, tmp_path: Path) -> None:
    lines = [{"kernel": kernel, **arguments} for kernel, arguments in SMALL.items()]
    (tmp_path / "shapes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = cli("warm", "--from", tmp_path / "shapes.jsonl", "--format", "json")
    assert answer.code == 0, answer.err
    assert [row["source"] for row in answer.json] == ["sweep", "sweep"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_an_example_stays_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@in_the_interpreter
@pytest.mark.usefixtures("package")
def test_an_example_states_what_it_has_to_do() -> None:
    matmul = registry.kernel_named("example_matmul")
    problem = matmul.problem({"M": 64, "N": 32, "K": 128})
    assert bytes_of(matmul, problem) == (64 * 128 + 128 * 32 + 64 * 32) * 2
    assert operations_of(matmul, problem) == 2 * 64 * 32 * 128
    softmax = registry.kernel_named("example_softmax")
    assert bytes_of(softmax, softmax.problem({"columns": 64})) is None  # the rows are in no problem
