"""The guide's command for Slurm, word for word, on a cluster of two nodes on this machine, which this test starts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fleet.conftest import Outcomes, write_shapes
from tests.threads import eventually
from tunedb.store import Store, open_store

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "fleet.md"
NODES = ("n1", "n2")
START_S = 60.0  # ample, on a busy machine
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATION = """
ClusterName=try
SlurmctldHost={host}
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
TaskProlog={folder}/prolog
ReturnToService=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} Port={ports[1]} CPUs=64 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname={host} Port={ports[2]} CPUs=64 Gres=gpu:8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""

pytestmark = [
    pytest.mark.skipif(
        any(shutil.which(name, path=SYSTEM_PATH) is None for name in PROGRAMS),
        reason="needs Slurm: apt-get install slurmctld slurmd slurm-client munge",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as whom Slurm's daemons run"),
]


def command_of(launcher: str) -> list[str]:
    """The words of the guide's command for a launcher."""
    [command] = re.findall(rf"^\| {launcher} \| `(.*)` \|$", GUIDE.read_text(), re.MULTILINE)
    return str(command).split()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A cluster of Slurm with two nodes that claim to have 64 cores and 8 GPUs; the environment in which it is used.

    Each node has a local store of its own.
    """
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o755)
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("", 0))
        ports = [one.getsockname()[1] for one in sockets]
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, ports=ports, host=socket.gethostname().partition(".")[0])
    )
    (folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu Count=8 File={folder}/gpu[0-7]\n")
    for number in range(8):
        (folder / f"gpu{number}").symlink_to(os.devnull)  # Slurm wants a device
    (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if is_newer() else "")
    (folder / "prolog").write_text(f'#!/bin/sh\necho "export TUNEDB_STORE={tmp_path}/$SLURMD_NODENAME.db"\n')
    (folder / "prolog").chmod(0o755)
    (folder / "key").write_bytes(secrets.token_bytes(128))
    (folder / "key").chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}:{SYSTEM_PATH}"}
    munge = [f"--{name}={folder / name}" for name in ("pid-file", "seed-file", "log-file")]
    daemons: list[Sequence[object]] = [
        ("munged", "--foreground", "--force", f"--socket={folder}/munge", f"--key-file={folder}/key", *munge),
        ("slurmctld", "-D"),
        *(("slurmd", "-D", "-N", node) for node in NODES),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "log").open("wb") as log:
            for words in daemons:
                processes.append(subprocess.Popen(list(map(str, words)), env=environment, stdout=log, stderr=log))
                if words[0] == "munged":
                    assert eventually((folder / "munge").exists, START_S)
        assert eventually(lambda: idle_nodes(environment) == len(NODES), START_S), (folder / "log").read_text()
        yield environment
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def is_newer() -> bool:
    """Whether this version of Slurm uses cgroups unless its configuration says no."""
    words, environment = ["slurmd", "-V"], {"PATH": SYSTEM_PATH}
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    return int(said.split()[-1].partition(".")[0]) >= 23


def idle_nodes(environment: dict[str, str]) -> int:
    """How many nodes wait for work."""
    words = ["sinfo", "--noheader", "--Node", "--states=idle"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout.count("idle")


def test_the_nodes_divide_a_list_and_have_the_same_sweeps(
    cluster: dict[str, str], planted: str, tmp_path: Path, store: Store
) -> None:
    program = tmp_path / "slurm" / "tunedb"
    program.write_text(f"#!{sys.executable}\nfrom tunedb.__main__ import main\nmain()\n")
    program.chmod(0o755)
    problems: list[Outcomes] = [{f"b{2**n}": 0.001} for n in range(6)]
    write_shapes(tmp_path / "shapes.jsonl", problems)
    shared = str(tmp_path / "shared.db")
    open_store(shared).close()
    environment = cluster | {"PYTHONPATH": planted, "TRITON_INTERPRET": "1", "TUNEDB_SHARED": f"sqlite:///{shared}"}
    done = subprocess.run(
        command_of("Slurm, whole nodes"), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("] sweep: ") == len(problems)
    assert done.stderr.count("] stored: ") == len(problems)
    uids = []
    for path in (shared, *(str(tmp_path / f"{node}.db") for node in NODES)):
        with open_store(path) as opened:
            uids.append(sorted(opened.upkeep.uids()))
    assert uids == [uids[0]] * 3
    assert len(uids[0]) == len(problems)
