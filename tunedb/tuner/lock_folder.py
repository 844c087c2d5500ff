"""The folder of the lock files, next to the store."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from tunedb._internal import safe_path
from tunedb._internal.control import let_pass, suppress
from tunedb._internal.setting_values import default_store
from tunedb.settings import Settings, expand


def lock_folder(settings: Settings) -> Path:
    """Return the folder of the lock files: `<store>.locks`, or that of the default store if the store is not a file.

    It is the same for every way to name one file: as a path, through a link, or as a URL.
    """
    path = re.sub(r"^sqlite(\+pysqlite)?:///", "", settings.store)
    if "://" in path or path == ":memory:":
        path = default_store()
    try:
        store = safe_path.resolve(expand(path))
        return store.with_name(f"{store.name}.locks")
    # No home folder, the root folder, a NUL, not UTF-8, a path that is too long: opening the store will say so.
    except (OSError, RuntimeError, ValueError) as error:
        let_pass(error)
    name = f"tunedb-{os.getuid()}.locks"
    with suppress(OSError):  # no folder for temporary files can be written: making a lock file will say so
        return Path(tempfile.gettempdir(), name)
    return Path("/tmp", name)
