"""The hash of a kernel whose code lies in one folder, kept by the content of the folder's files.

Asking for it then loads neither Triton nor the kernel, which takes longer than a look-up in the store.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb.core import source_cache

_HERE = Path(__file__).parent


def hash_of_files(kernel: str, files: Iterable[Path], *, module: str, triton: str, compute: Callable[[], str]) -> str:
    """Return the hash of a kernel whose code and globals follow from these files alone.

    kernel: its name. files: all files of its package that its hash depends on; more do no harm.
    module: the one that has its jit function. If it is loaded its code can have been replaced, so its hash is computed.
    triton: Triton's version. compute: returns the kernel's hash.
    """
    if module in sys.modules:
        return compute()
    try:
        key = _digest(kernel, triton, [*files, *_HERE.glob("source_*.py"), _HERE / "jit_function.py"])
    except OSError as error:  # a file that can't be read, or was just removed
        let_pass(error)
        return compute()
    cache = source_cache.active()
    known = cache.get_hash(key)
    if known is None:
        known = compute()
        cache.put_hash(key, known)
    return known


def _digest(kernel: str, triton: str, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"files of {kernel} for triton {triton}".encode())
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"\0{file.name} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
