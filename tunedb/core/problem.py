"""Problems and configs: what is computed, and how.

The launcher, sweeps, the command line, exports and tests build a problem through the same class, so that each finds
what the others stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunedb._internal.printable import printable
from tunedb.core.canonical import digest_of, dump, parse_canonical, plain_facts
from tunedb.core.tagged import DtypeName, text_of, untagged
from tunedb.errors import IdentityError

_KERNEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,199}")
LAUNCH_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")  # Triton's; every other knob is a constexpr


@dataclass(frozen=True, slots=True)
class _Facts(Mapping[str, Any]):
    """A frozen mapping that is equal to another if the canonical JSON in `key` is."""

    key: str
    _values: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._keep(parse_canonical(self.key))

    def _keep(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", values)
        for name in values:
            if not name.isprintable():  # of facts and knobs: such a value is escaped where it is shown
                raise IdentityError(f"Expected a name without control characters, got {name!r:.100}.")

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return untagged(value) if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def dtype_name(self, name: str) -> DtypeName:
        """Return a fact that is a dtype, without loading torch or Triton. Raises IdentityError for another fact."""
        value = self._values[name]
        if not isinstance(value, dict) or list(value) != ["dtype"]:
            raise IdentityError(f"{name}: expected a dtype, got {value!r:.100}.")
        return DtypeName(value["dtype"])

    def plain(self) -> dict[str, Any]:
        """Return the facts with each dtype as its short name (`float32`): for people, and for `--format json`."""
        return {name: text_of(value) if isinstance(value, dict) else value for name, value in self._values.items()}

    def __str__(self) -> str:
        return printable(", ".join(f"{name}={value}" for name, value in self.plain().items()))


@dataclass(frozen=True, slots=True)
class Problem(_Facts):
    """A problem: what is computed, as a kernel's name and the facts that its speed depends on.

    Values are None, bool, int, float, str, or a dtype of torch or Triton; each comes back from `key`, which is
    canonical JSON, as itself, and an IntEnum or a StrEnum as its value. Made by `Problem.of`, or from a stored `key`.
    """

    kernel: str
    digest: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _Facts.__post_init__(self)
        self._identify()

    def _identify(self) -> None:
        if type(self.kernel) is not str or not _KERNEL.fullmatch(self.kernel):
            raise IdentityError(
                f"A kernel's name: expected letters, digits, '_', '.' and '-', at most 200, got {self.kernel!r:.300}."
            )
        object.__setattr__(self, "digest", digest_of(self.key))

    @classmethod
    def of(cls, kernel: str, /, **facts: object) -> Problem:
        """Return the problem with these facts. Raises IdentityError, before anything is tuned, if one can't be kept."""
        values = plain_facts(facts)
        problem = object.__new__(cls)
        object.__setattr__(problem, "key", dump(values))
        object.__setattr__(problem, "kernel", kernel)
        problem._keep(values)
        problem._identify()
        return problem


@dataclass(frozen=True, slots=True)
class Config(_Facts):
    """One setting of a kernel's knobs: constexpr arguments such as BLOCK_OUT, launch options such as num_warps."""

    @classmethod
    def of(cls, **knobs: object) -> Config:
        """Return the config with these knobs."""
        values = plain_facts(knobs)
        config = object.__new__(cls)
        object.__setattr__(config, "key", dump(values))
        config._keep(values)
        return config

    @property
    def constants(self) -> dict[str, Any]:
        """The knobs that the kernel takes as constexpr arguments."""
        return {name: self[name] for name in self if name not in LAUNCH_OPTIONS}

    @property
    def options(self) -> dict[str, Any]:
        """The knobs that Triton takes as launch options."""
        return {name: self[name] for name in self if name in LAUNCH_OPTIONS}
