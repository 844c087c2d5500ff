"""Problems and configs, and the canonical JSON that gives them their identity.

Launcher, sweep, command line, export and tests build a problem through the same class, so that what one of them
stores the others find.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunedb.errors import IdentityError

_INT64 = range(-(2**63), 2**63)
_DTYPE = re.compile(r"(torch|triton)\.[a-z][a-z0-9_]{0,31}")
_KERNEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,199}")
LAUNCH_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")  # Triton's; every other knob is a constexpr


def _dtype_name(value: object) -> str | None:
    """`torch.float32` or `triton.fp32` for a dtype, else None. Neither package is imported to find out."""
    module = type(value).__module__
    if type(value).__name__ != "dtype" or module not in ("torch", "triton.language.core"):
        return None
    name = str(value).removeprefix("torch.")
    return f"{module.partition('.')[0]}.{name}"


def _dtype(name: str) -> Any:
    """The dtype of that name, from torch or Triton, which are imported for it."""
    if not _DTYPE.fullmatch(name):
        raise IdentityError(f"No dtype is called {name!r}.")
    package, _, short = name.partition(".")
    if package == "torch":
        import torch

        found = getattr(torch, short, None)
        if isinstance(found, torch.dtype):
            return found
    else:
        import triton.language as tl

        if short in tl.dtype.SINT_TYPES + tl.dtype.UINT_TYPES + tl.dtype.FP_TYPES + tl.dtype.OTHER_TYPES:
            return tl.dtype(short)
    raise IdentityError(f"This {package} has no dtype called {short!r}.")


def _plain(name: str, value: object) -> object:
    """`value` as JSON can hold it; raises IdentityError for what would not come back as itself."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        if value not in _INT64:
            raise IdentityError(f"{name}: {value} does not fit into 64 bits.")
        return value
    if type(value) is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise IdentityError(f"{name}: {value} has no canonical form. Use None or a string.")
        return value
    if type(value) is str:
        if "\0" in value or (not value.isascii() and any(0xD800 <= ord(char) < 0xE000 for char in value)):
            raise IdentityError(f"{name}: {value!r} holds a NUL or a lone surrogate, which databases refuse.")
        return value
    dtype = _dtype_name(value)
    if dtype is not None:
        return {"dtype": dtype}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise IdentityError(f"{name}: found a {kind}, needed None, bool, int, float, str or a dtype. Convert it first.")


def _dump(plain: Mapping[str, object]) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(facts: Mapping[str, object]) -> str:
    """Canonical JSON of a flat mapping: sorted keys, compact, ASCII; equal mappings give equal text.

    Raises IdentityError where a name is no str or a value would not come back as itself.
    """
    for name in facts:
        if type(name) is not str or not name or "\0" in name:
            raise IdentityError(f"{name!r} is no name: needed a non-empty str.")
    return _dump({name: _plain(name, value) for name, value in facts.items()})


def _refuse_constant(text: str) -> object:
    raise IdentityError(f"{text} is no canonical value.")


def parse_json(text: str) -> Any:
    """JSON as strict as we write it: no NaN, no infinity, no repeated key, no endless digits, no deep nesting."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise IdentityError("A key stands twice in one object.")
        return found

    def integer(digits: str) -> int:
        if len(digits) > 20 or int(digits) not in _INT64:
            raise IdentityError(f"{digits[:20]}... does not fit into 64 bits.")
        return int(digits)

    def number(digits: str) -> float:
        found = float(digits)
        if found in (float("inf"), float("-inf")):
            raise IdentityError(f"{digits[:20]} is more than a float holds.")
        return found

    try:
        return json.loads(
            text, parse_constant=_refuse_constant, parse_int=integer, parse_float=number, object_pairs_hook=unique
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise IdentityError(f"This is no JSON: {error}.") from None


def parse_canonical(text: str) -> dict[str, Any]:
    """The plain mapping behind a canonical text, in which a dtype is still `{"dtype": "torch.float32"}`.

    Raises IdentityError where the text is anything but what `canonical` writes.
    """
    plain = parse_json(text)
    if not isinstance(plain, dict):
        raise IdentityError(f"Found a JSON {type(plain).__name__}, needed an object.")
    for name, value in plain.items():
        if isinstance(value, dict):
            dtype = value.get("dtype")
            if len(value) != 1 or not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
                raise IdentityError(f"{name}: found an object that is no dtype.")
        else:
            _plain(name, value)
    if _dump(plain) != text:
        raise IdentityError("The JSON is not in canonical form (sorted, compact, ASCII).")
    return plain


@dataclass(frozen=True, slots=True)
class _Facts(Mapping[str, Any]):
    """A frozen mapping that is equal to another where the canonical JSON in `key` is."""

    key: str
    _values: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", parse_canonical(self.key))

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return _dtype(value["dtype"]) if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def plain(self) -> dict[str, Any]:
        """The facts with each dtype as its short name (`float32`): for people, and for `--format json`."""
        return {
            name: value["dtype"].partition(".")[2] if isinstance(value, dict) else value
            for name, value in self._values.items()
        }

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.plain().items())


@dataclass(frozen=True, slots=True)
class Problem(_Facts):
    """What is computed: a kernel's name, and the facts that its speed depends on.

    Values are None, bool, int (64 bits), finite float, str, or a dtype of torch or Triton; each survives the way
    through `key`, which is canonical JSON, as itself. Made by `Problem.of`, or from a stored `key`.
    """

    kernel: str
    digest: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _Facts.__post_init__(self)
        if type(self.kernel) is not str or not _KERNEL.fullmatch(self.kernel):
            raise IdentityError(f"{self.kernel!r} is no kernel name: needed letters, digits, '_', '.' and '-'.")
        object.__setattr__(self, "digest", digest_of(self.key))

    @classmethod
    def of(cls, kernel: str, /, **facts: object) -> Problem:
        """The problem with these facts. Raises IdentityError, before anything is tuned, for what can't be kept."""
        return cls(canonical(facts), kernel)


@dataclass(frozen=True, slots=True)
class Config(_Facts):
    """One setting of a kernel's knobs: constexpr arguments such as BLOCK_OUT, launch options such as num_warps."""

    @classmethod
    def of(cls, **knobs: object) -> Config:
        """The config with these knobs."""
        return cls(canonical(knobs))

    @property
    def constants(self) -> dict[str, Any]:
        """The knobs that the kernel takes as constexpr arguments."""
        return {name: self[name] for name in self if name not in LAUNCH_OPTIONS}

    @property
    def options(self) -> dict[str, Any]:
        """The knobs that Triton takes as launch options."""
        return {name: self[name] for name in self if name in LAUNCH_OPTIONS}


def digest_of(text: str) -> str:
    """The sha256 of a canonical (ASCII) text, in hexadecimal."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()
