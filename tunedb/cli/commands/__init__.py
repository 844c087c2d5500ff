"""The commands, one file each, named as they are typed. Importing this package registers them in COMMANDS."""

from tunedb.cli.command import COMMANDS
from tunedb.cli.commands import (
    db,
    demo,
    devices,
    diff,
    doctor,
    explain,
    export,
    gc,
    import_,
    kernels,
    lookup,
    ls,
    mark,
    misses,
    path,
    precompile,
    report,
    run,
    show,
    stats,
    sync,
    verify,
    warm,
)

__all__ = ["COMMANDS"]
