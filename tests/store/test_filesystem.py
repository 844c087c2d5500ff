"""What lies around a store: which file system it is on, by the kernel's list of mounts, and who holds its locks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunedb.store.doctor import filesystem

MOUNTS = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /data rw - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /data/local\040disk rw master:3 - xfs /dev/sdb rw
32 21 0:42 / /home/me/far rw - fuse.sshfs me@host: rw
33 21 0:43 / /over rw - ext4 /dev/sdc rw
34 21 0:44 / /over rw - lustre mgs@tcp:/fs rw
"""


def test_locks_of_sweeps_are_counted_and_no_fault(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.lock").touch()
    with holding(tmp_path / "two.lock"):
        finding = filesystem.sweep_locks(lambda: tmp_path)
    assert (finding.status, finding.found) == ("ok", "1 held by sweeps that are under way, 2 free")
    assert filesystem.sweep_locks(lambda: tmp_path / "absent").found.startswith("0 held")
    assert len(list(tmp_path.iterdir())) == 3


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Another process holds the lock."""
    code = f"from filelock import FileLock; lock = FileLock({str(path)!r}); lock.acquire(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        try:
            yield
        finally:
            other.communicate(b"\n")


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/database", "ext4"),
        ("/data", "nfs4"),
        ("/data/deep/er", "nfs4"),
        ("/data/local disk/x", "xfs"),
        ("/home/me/far", "fuse.sshfs"),
        ("/over", "lustre"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_and_last_mount(
    folder: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filesystem.file_system_of(Path(folder), MOUNTS) == kind
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")
    finding = filesystem.file_system(Path(folder))
    assert finding.status == ("ok" if kind in ("ext4", "xfs") else "warn")
    assert kind in finding.found
