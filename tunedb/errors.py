"""Every exception that tunedb raises, in one tree.

TunedbError
├── SettingError             a setting or an argument has a value that can't be used (also a ValueError)
│   └── AmbiguousName        a name, or a part of one, fits several kernels or devices
├── IdentityError            a problem, config or kernel can't be given an identity (also a ValueError)
├── MissError                mode `strict`, and the store has no answer (also a LookupError)
│   └── CompileRefused       mode `strict-compile`, and the kernel is not compiled yet
├── SweepError               a sweep could not be carried out
│   ├── CallerError          a function or an argument of the caller's own failed in it: no config is to blame
│   ├── AllConfigsFailed     no config is left to serve the call that tuned
│   ├── TrialError           one config failed; `status` says how
│   ├── HostFaultError       this machine failed (a full disk, no compiler, no memory): no config is to blame
│   └── StickyDeviceError    the CUDA context is lost: nothing more can run in this process
├── RanksDisagree            ranks of a job use different configs (`tunedb.agree`)
├── UnknownSweep             no sweep has a uid that starts like that (also a LookupError)
│   └── AmbiguousUid         more than one has
├── ImportRejected           a file to import was refused; `line` says where
└── StoreError               the store failed
    ├── StoreUnavailable     not there, full, read-only, unreachable, or without its driver
    │   └── StoreBusy        another process holds it: a later try may succeed
    ├── StoreCorrupt         the file is not a database, or a damaged one
    └── SchemaMismatch       the store's schema is not the one that this version needs
        ├── SchemaOlder      fixed by `tunedb db upgrade`
        └── SchemaNewer      fixed by a newer tunedb
"""

from __future__ import annotations


class TunedbError(Exception):
    """Base of every exception that tunedb raises."""


class SettingError(TunedbError, ValueError):
    """A setting or an argument has a value that can't be used."""


class AmbiguousName(SettingError):
    """A name, or a part of one, fits several kernels or devices."""


class IdentityError(TunedbError, ValueError):
    """A problem, config or kernel can't be given an identity."""


class MissError(TunedbError, LookupError):
    """Nothing is stored that could answer, and mode `strict` or `strict-compile` allows nothing else."""


class CompileRefused(MissError):
    """A call's kernel is not compiled yet, and mode `strict-compile` allows no compile."""


class SweepError(TunedbError):
    """A sweep could not be carried out."""


class CallerError(SweepError):
    """A function or an argument of the caller's own failed in a sweep; no config is to blame.

    `error` is what it raised; a call of a decorated kernel raises that one itself.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


class AllConfigsFailed(SweepError):
    """Every config of a sweep failed."""


class TrialError(SweepError):
    """One config failed. `status` is the trial's status, such as `compile_error`."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class HostFaultError(SweepError):
    """This machine failed while a config was compiled or run; that says nothing about the config."""


class StickyDeviceError(SweepError):
    """The CUDA context is lost (an illegal access, say): restart the process."""


class RanksDisagree(TunedbError):
    """Ranks of a `torch.distributed` job use different configs for a problem, see `tunedb.agree`."""


class UnknownSweep(TunedbError, LookupError):
    """No sweep, or more than one, has a uid that starts like this."""


class AmbiguousUid(UnknownSweep):
    """More than one sweep has a uid that starts like this."""


class ImportRejected(TunedbError):
    """A file to import was refused. `line` is its line number, from 1, or None for the whole file."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class StoreError(TunedbError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store is not there, full, read-only, unreachable, or lacks its driver."""


class StoreReadOnly(StoreUnavailable):
    """The store may be read but not written: by this user, or, if it `is_temporary`, by anyone at present."""

    is_temporary = False


class StoreBusy(StoreUnavailable):
    """Another process holds the store: a later try may succeed."""


class StoreCorrupt(StoreError):
    """The file is not a database, or a damaged one."""


class SchemaMismatch(StoreError):
    """The store's schema is not the one that this version needs."""


class SchemaOlder(SchemaMismatch):
    """An older tunedb wrote the store, and it was not upgraded yet."""


class SchemaNewer(SchemaMismatch):
    """A newer tunedb wrote the store."""
