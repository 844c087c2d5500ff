"""What a worker begins before its first message has come."""

from __future__ import annotations

import pytest

from tunedb import settings
from tunedb.worker import child


class Waiting(BaseException):
    """The worker waits for a message."""


def wait() -> None:
    raise Waiting


@pytest.mark.parametrize("interpreted", [False, True])
def test_it_has_triton_hash_its_libraries_unless_it_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, *, interpreted: bool
) -> None:
    begun = []
    monkeypatch.setattr(settings, "is_interpreted", lambda: interpreted)
    monkeypatch.setattr(child, "preload_aside", lambda: begun.append("hash"))
    monkeypatch.setattr(child, "Inbox", wait)
    monkeypatch.setattr(child, "_log_on_stderr", lambda: None)
    monkeypatch.setattr(child.signal, "signal", lambda *_: None)
    with pytest.raises(Waiting):
        child.main()
    assert begun == ([] if interpreted else ["hash"])
