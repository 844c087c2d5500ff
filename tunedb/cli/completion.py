"""Shell completion: typer's, with the names of installed and stored kernels, stored devices and sweeps."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tunedb._internal.control import let_pass

if TYPE_CHECKING:
    from tunedb.store.stored import Stored

MAX_UIDS = 50  # that are offered, the newest


def kernels(incomplete: str) -> list[str]:
    """Return the names of installed and stored kernels that begin like this."""
    from tunedb import registry

    names = registry.kernel_names()
    with _stored() as stored:
        names += stored.upkeep.kernels()
    return sorted({name for name in names if name.startswith(incomplete)})


def devices(incomplete: str) -> list[str]:
    """Return a word of each stored device that no other has, such as `H100`: a name with blanks is hard to complete."""
    with _stored() as stored:
        names = sorted({device.name for device in stored.upkeep.devices()})
    counts = Counter(word for name in names for word in set(name.split()))
    offered = (next((word for word in _telling(name) if counts[word] == 1), "") for name in names)
    return [word for word in offered if word and word.casefold().startswith(incomplete.casefold())]


def uids(incomplete: str) -> list[str]:
    """Return the beginnings of the uids of the newest sweeps."""
    from tunedb.cli.cells import SHORT_UID

    with _stored() as stored:
        sweeps = [sweep for sweep in stored.iter_sweeps() if sweep.uid.startswith(incomplete)]
    newest = sorted(sweeps, key=lambda sweep: sweep.started, reverse=True)[:MAX_UIDS]
    return [sweep.uid[:SHORT_UID] for sweep in newest]


def _telling(name: str) -> Iterable[str]:
    """Return the words of a device's name, those with a digit first."""
    return sorted(name.split(), key=lambda word: not any(map(str.isdigit, word)))


@contextlib.contextmanager
def _stored() -> Iterator[Stored]:
    from tunedb import settings
    from tunedb.store.bundles import bundle_layer
    from tunedb.store.reading import open_to_read
    from tunedb.store.stored import Stored

    store, bundles = None, None
    logging.getLogger("tunedb").setLevel(logging.CRITICAL)  # as below: this process completes a word and ends
    try:
        bundles = bundle_layer(settings.current().bundles)
        store = open_to_read(settings.current().store)
    # Whatever fails, a shell that completes a word must not print it into the line that is typed.
    except Exception as error:
        let_pass(error)
    with contextlib.nullcontext() if store is None else store as opened:
        yield Stored(opened, bundles)
