"""Paths through entries that other users made, and the modes of folders and files that are made."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunedb._internal import safe_path

OTHER = 54321  # a user who is not this one
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")


@pytest.fixture
def any_umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def link(path: Path, target: Path | str, owner: int = OTHER) -> Path:
    path.symlink_to(target)
    os.lchown(path, owner, owner)
    return path


def made(path: Path, *, folder: bool = False, owner: int = OTHER) -> Path:
    path.mkdir() if folder else path.touch()
    os.chown(path, owner, owner)
    return path


PLANTED: dict[str, Callable[[Path, Path], Path]] = {
    "a link": lambda sticky, home: link(sticky / "x", home / "file"),
    "a dangling link": lambda sticky, home: link(sticky / "x", home / "absent"),
    "a link to a folder": lambda sticky, home: link(sticky / "x", home) / "file",
    "a link behind one of ours": lambda sticky, home: link(home / "mine", link(sticky / "x", home / "file"), 0),
    "a link behind a link of ours to its folder": lambda sticky, home: (
        link(home / "mine", sticky, 0) / link(sticky / "x", home / "file").name
    ),
    "a link and a way back": lambda sticky, home: link(sticky / "x", home) / ".." / "shared" / "y",
    "a file": lambda sticky, home: made(sticky / "x"),
    "a folder": lambda sticky, home: made(sticky / "x", folder=True) / "absent" / "file",
}


@needs_root
@pytest.mark.parametrize("kind", PLANTED)
def test_a_path_through_what_another_user_made_in_a_sticky_folder_is_refused(
    kind: str, sticky: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = PLANTED[kind](sticky, home)
    with pytest.raises(safe_path.UnsafePath, match=rf"shared/x belongs to another user \(uid {OTHER}\)"):
        safe_path.resolve(path)
    sticky.chmod(0o755)  # where only we may make entries, another user's were put on purpose
    assert safe_path.resolve(path) == path.resolve()


@needs_root
def test_links_and_files_of_one_s_own_and_of_root_are_followed() -> None:
    sticky = Path(tempfile.mkdtemp())  # in a folder that another user can read
    sticky.chmod(0o1777)
    link(sticky / "roots", "target", 0)
    link(sticky / "mine", "target", OTHER)
    link(sticky / "theirs", "target", OTHER + 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setuid(OTHER)
            assert safe_path.resolve(sticky / "roots") == safe_path.resolve(sticky / "mine") == sticky / "target"
            try:
                safe_path.resolve(sticky / "theirs")
            except safe_path.UnsafePath:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    shutil.rmtree(sticky)


@needs_root
def test_a_mounted_volume_is_followed_whoever_owns_it(
    sticky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = made(sticky / "a volume", folder=True)
    mounts = tmp_path / "mountinfo"
    escaped = str(volume).replace(" ", "\\040")
    mounts.write_text(f"36 35 98:0 / {escaped} rw,noatime master:1 - ext3 /dev/root rw\n")
    monkeypatch.setattr(safe_path, "_MOUNTS", mounts)
    assert safe_path.resolve(volume / "store.db") == volume / "store.db"


def test_a_volume_of_kubernetes_is_followed(tmp_path: Path) -> None:
    """A ConfigMap's files are links to `..data/file`, and `..data` is a link that is replaced at each change."""
    volume = tmp_path / "config"
    (volume / "..2026").mkdir(parents=True)
    (volume / "..2026" / "store.db").touch()
    (volume / "..data").symlink_to("..2026")
    (volume / "store.db").symlink_to("..data/store.db")
    volume.chmod(0o777)
    assert safe_path.resolve(volume / "store.db") == volume / "..2026" / "store.db"


def test_a_path_is_resolved_as_the_system_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    (tmp_path / "round").symlink_to("round")
    monkeypatch.chdir(tmp_path)
    for path in ("link/../file", "link/./x/../y", "./a//b/", "absent/../a", "/", "/.."):
        assert safe_path.resolve(path) == Path(path).resolve(), path
    with pytest.raises(OSError, match="symbolic links"):
        safe_path.resolve("round/file")
    read_end, write_end = os.pipe()
    try:
        assert safe_path.resolve(f"/proc/self/fd/{write_end}").exists()
    finally:
        os.close(read_end), os.close(write_end)


@needs_root
def test_a_file_beside_a_database_may_be_no_one_else_s(sticky: Path) -> None:
    path = sticky / "store.db"
    safe_path.check_beside(path, ("-journal",))
    made(sticky / "store.db-journal")
    with pytest.raises(safe_path.UnsafePath):
        safe_path.check_beside(path, ("-journal",))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_folders_and_files_are_for_this_user_only_whatever_the_umask(
    umask: int, tmp_path: Path, any_umask: Callable[[int], int]
) -> None:
    folder = tmp_path / "a" / "b" / "c"
    any_umask(umask)
    safe_path.make_folders(folder)
    safe_path.make_folders(folder)
    safe_path.make_file(folder / "file")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent.parent, folder.parent, folder)]
    assert modes == [0o700] * 3
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o600


def test_a_folder_where_nothing_can_be_made_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(OSError, match="nowhere"):
        safe_path.make_folders(Path("/proc/nowhere/a/b"))


def test_a_file_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(FileExistsError):
        safe_path.make_file(tmp_path / "link")
    with pytest.raises(FileExistsError):
        safe_path.make_folders(tmp_path / "link")
    assert not (tmp_path / "absent").exists()
