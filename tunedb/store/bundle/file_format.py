"""The format of a bundle: a small SQLite file of tuned sweeps with a checksum at its end, which no program changes.

It has tables and a version of its own, apart from the store's schema: packages that ship a bundle need not make it
again for each migration. The bytes follow from the sweeps alone, whatever version of SQLite writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tunedb.errors import StoreUnavailable

VERSION = 2  # in the header as SQLite's user_version; a reader refuses another one
APPLICATION_ID = int.from_bytes(b"tunb", "big")  # in the header, for `file` and for our own stores
PAGE_SIZE = 4096
MAGIC = b"SQLite format 3\0"
SEAL = b"tunedb bundle, sha256: "  # before the checksum, after SQLite's last page, which SQLite ignores
SEAL_BYTES = len(SEAL) + hashlib.sha256().digest_size

# Rows are inserted in the order of their keys. `sweep` begins with what a look-up knows, so that no index is needed.
TABLES = {
    "device": (
        "CREATE TABLE device (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, backend TEXT NOT NULL, "
        "arch TEXT NOT NULL, multiprocessors INTEGER NOT NULL, info TEXT NOT NULL)"
    ),
    "environment": "CREATE TABLE environment (id INTEGER PRIMARY KEY, key TEXT NOT NULL)",
    "kernel": "CREATE TABLE kernel (id INTEGER PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL)",
    "sweep": (
        "CREATE TABLE sweep (kernel INTEGER NOT NULL, device INTEGER NOT NULL, problem TEXT NOT NULL, "
        "id INTEGER NOT NULL, uid TEXT NOT NULL, environment INTEGER NOT NULL, complete INTEGER NOT NULL, "
        "config TEXT NOT NULL, time_us REAL, default_time_us REAL, counts TEXT NOT NULL, started TEXT NOT NULL, "
        "finished TEXT NOT NULL, PRIMARY KEY (kernel, device, problem, id)) WITHOUT ROWID"
    ),
    "confirmation": (
        "CREATE TABLE confirmation (sweep INTEGER NOT NULL, uid TEXT NOT NULL, environment INTEGER NOT NULL, "
        "time_us REAL, default_time_us REAL, time TEXT NOT NULL, PRIMARY KEY (sweep, uid)) WITHOUT ROWID"
    ),
    "trial": (
        "CREATE TABLE trial (sweep INTEGER NOT NULL, uid TEXT NOT NULL, config TEXT NOT NULL, status TEXT NOT NULL, "
        "outcome TEXT NOT NULL, reference TEXT, time_us REAL, p20_us REAL, p80_us REAL, compile_s REAL, "
        "samples INTEGER NOT NULL, registers INTEGER, spills INTEGER, shared_bytes INTEGER, "
        "PRIMARY KEY (sweep, uid)) WITHOUT ROWID"
    ),
}

REMEDY = "Install its package again, or take it out of TUNEDB_BUNDLES."
_MAKE = "To make one of a store, run: tunedb export --format bundle --store STORE -o FILE"
_ZIP = b"PK\3\4"  # how an archive begins
_SIZE, _COUNTER, _VALID_FOR, _SQLITE_VERSION = 28, 24, 92, 96  # offsets in the header: sqlite.org/fileformat.html
_USER_VERSION, _APPLICATION_ID = 60, 68
_HEADER_BYTES = 100  # of the file, at the start of its first page
_INNER_PAGES = (2, 5)  # of an index and of a table: their cells begin with the number of another page
_WRITTEN_BY = 3_040_000  # the version of SQLite that the header names, whichever wrote the file


class BundleRefused(StoreUnavailable):
    """A bundle can't be used. `fault` says why, and `remedy` what to do about it."""

    def __init__(self, fault: str, remedy: str = REMEDY) -> None:
        super().__init__(f"{fault} {remedy}")
        self.fault = fault
        self.remedy = remedy


def sealed(database: bytes) -> bytes:
    """Return a database as a bundle: without traces of what SQLite wrote it, and with its checksum."""
    header = bytearray(database)
    for offset, number in ((_COUNTER, 1), (_VALID_FOR, 1), (_SQLITE_VERSION, _WRITTEN_BY)):
        header[offset : offset + 4] = number.to_bytes(4, "big")
    content = bytes(header)
    return content + SEAL + hashlib.sha256(content).digest()


def without_leftovers(database: bytes, roots: Iterable[int]) -> bytes:
    """Return a database, which has no free pages, with zeros where its pages hold nothing.

    What SQLite moves within a page stays in its old place as well, and versions of it differ in what they move. `roots`
    are the root pages of all tables.
    """
    content, pages = bytearray(database), list(roots)
    while pages:
        number = pages.pop()
        page = (number - 1) * PAGE_SIZE
        head = page + (_HEADER_BYTES if number == 1 else 0)
        kind, cells = content[head], int.from_bytes(content[head + 3 : head + 5], "big")
        is_inner = kind in _INNER_PAGES
        begin = head + (12 if is_inner else 8)
        places = [int.from_bytes(content[at : at + 2], "big") for at in range(begin, begin + 2 * cells, 2)]
        if is_inner:
            pages += [_number(content, page + place) for place in places]
            pages.append(_number(content, head + 8))
        end = page + (int.from_bytes(content[head + 5 : head + 7], "big") or PAGE_SIZE)
        begin += 2 * cells
        content[begin:end] = bytes(end - begin)
    return bytes(content)


def unsealed(bundle: bytes, name: str) -> bytes:
    """Return the database in a bundle, of which `name` is for messages. Raises BundleRefused unless it is sound."""
    if not is_bundle(bundle):
        raise BundleRefused(f"Refused {name}: {_what(bundle)}.", _MAKE)
    version = _number(bundle, _USER_VERSION)
    if version != VERSION:
        remedy = "pip install --upgrade tunedb" if version > VERSION else "tunedb export --format bundle -o FILE"
        fault = f"Refused {name}: expected version {VERSION} of bundles, got {version}."
        raise BundleRefused(fault, f"Run: {remedy}")
    content, seal = bundle[:-SEAL_BYTES], bundle[-SEAL_BYTES:]
    if seal != SEAL + hashlib.sha256(content).digest() or len(content) != _number(bundle, _SIZE) * PAGE_SIZE:
        remedy = "Install its package again, or run: tunedb export --format bundle -o FILE"
        raise BundleRefused(f"Refused {name}: it is damaged, or was changed after its export.", remedy)
    return content


def is_bundle(head: bytes) -> bool:
    """Say whether a file that begins like this is a bundle, of any version."""
    return head[: len(MAGIC)] == MAGIC and _number(head, _APPLICATION_ID) == APPLICATION_ID


def _what(content: bytes) -> str:
    """Say what a file is, if it is not a bundle."""
    if not content:
        return "it is empty"
    if content.startswith(MAGIC):
        return "it is a SQLite database, such as a store, and no bundle"
    if content.startswith(_ZIP):
        return "it is a zip archive; a bundle in one is found by the entry point of its package, or unpack it"
    return "it is not a bundle, or it is damaged"


def _number(header: bytes | bytearray, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")
