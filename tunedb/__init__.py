"""An autotuning database for Triton kernels: the best config, found once and handed to every later call."""

from __future__ import annotations

from tunedb._internal.lazy import lazy
from tunedb.errors import (
    AllConfigsFailed,
    AmbiguousName,
    AmbiguousUid,
    CallerError,
    CompileRefused,
    HostFaultError,
    IdentityError,
    ImportRejected,
    MissError,
    RanksDisagree,
    SchemaMismatch,
    SchemaNewer,
    SchemaOlder,
    SettingError,
    StickyDeviceError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    SweepError,
    TrialError,
    TunedbError,
    UnknownSweep,
)

# Not typing's, which would be most of the time until the program handles Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tunedb.adoption.adopting import adopt as adopt
    from tunedb.adoption.listing import Adopted as Adopted
    from tunedb.adoption.listing import adopted as adopted
    from tunedb.api import flush as flush
    from tunedb.api import lookup as lookup
    from tunedb.api import warm as warm
    from tunedb.core.device import Device as Device
    from tunedb.core.problem import Config as Config
    from tunedb.core.problem import Problem as Problem
    from tunedb.core.sweep import Sweep as Sweep
    from tunedb.core.sweep import Trial as Trial
    from tunedb.core.task import Choice as Choice
    from tunedb.decorator.buckets import multiple_of as multiple_of
    from tunedb.decorator.buckets import pow2 as pow2
    from tunedb.decorator.decorate import autotune as autotune
    from tunedb.fleet.agreement import RankDifference as RankDifference
    from tunedb.fleet.agreement import agree as agree
    from tunedb.fleet.result import WarmResult as WarmResult
    from tunedb.fleet.warming import warm_many as warm_many
    from tunedb.reporting.document import Report as Report
    from tunedb.reporting.notebook import Sweeps as Sweeps
    from tunedb.reporting.notebook import report as report
    from tunedb.reporting.notebook import sweeps as sweeps
    from tunedb.settings import configure as configure
    from tunedb.settings import using as using

__version__ = "0.1.0"

# Loaded at first use, so that `import tunedb` loads none of torch, triton, SQLAlchemy, Alembic, typer and rich.
_LAZY = {
    "Adopted": "tunedb.adoption.listing",
    "Choice": "tunedb.core.task",
    "Config": "tunedb.core.problem",
    "Device": "tunedb.core.device",
    "Problem": "tunedb.core.problem",
    "RankDifference": "tunedb.fleet.agreement",
    "Report": "tunedb.reporting.document",
    "Sweep": "tunedb.core.sweep",
    "Sweeps": "tunedb.reporting.notebook",
    "Trial": "tunedb.core.sweep",
    "WarmResult": "tunedb.fleet.result",
    "adopt": "tunedb.adoption.adopting",
    "adopted": "tunedb.adoption.listing",
    "agree": "tunedb.fleet.agreement",
    "autotune": "tunedb.decorator.decorate",
    "configure": "tunedb.settings",
    "flush": "tunedb.api",
    "lookup": "tunedb.api",
    "multiple_of": "tunedb.decorator.buckets",
    "pow2": "tunedb.decorator.buckets",
    "report": "tunedb.reporting.notebook",
    "sweeps": "tunedb.reporting.notebook",
    "using": "tunedb.settings",
    "warm": "tunedb.api",
    "warm_many": "tunedb.fleet.warming",
}

__all__ = [
    "Adopted",
    "AllConfigsFailed",
    "AmbiguousName",
    "AmbiguousUid",
    "CallerError",
    "Choice",
    "CompileRefused",
    "Config",
    "Device",
    "HostFaultError",
    "IdentityError",
    "ImportRejected",
    "MissError",
    "Problem",
    "RankDifference",
    "RanksDisagree",
    "Report",
    "SchemaMismatch",
    "SchemaNewer",
    "SchemaOlder",
    "SettingError",
    "StickyDeviceError",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreReadOnly",
    "StoreUnavailable",
    "Sweep",
    "SweepError",
    "Sweeps",
    "Trial",
    "TrialError",
    "TunedbError",
    "UnknownSweep",
    "WarmResult",
    "adopt",
    "adopted",
    "agree",
    "autotune",
    "configure",
    "flush",
    "lookup",
    "multiple_of",
    "pow2",
    "report",
    "sweeps",
    "using",
    "warm",
    "warm_many",
]

__getattr__, __dir__ = lazy(globals(), _LAZY)
