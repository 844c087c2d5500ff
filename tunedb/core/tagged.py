"""Values that JSON lacks, each as an object with one key that says what it is: `{"float":"inf"}`.

A dtype is written by its name. Only reading one back imports torch or Triton, which nothing else in core does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunedb.errors import IdentityError


@dataclass(frozen=True, slots=True)
class DtypeName:
    """A dtype by its name, such as `torch.float32`, where loading torch or Triton for the dtype itself is too slow.

    As a fact it is the same as the dtype.
    """

    name: str

    def __post_init__(self) -> None:
        if not _DTYPE.fullmatch(self.name):
            raise IdentityError(f"Expected a dtype's name such as torch.float32, got {self.name!r:.100}.")


INT64 = range(-(2**63), 2**63)
_DTYPE = re.compile(r"(torch|triton)\.[a-z][a-z0-9_]{0,31}")
_HEX = re.compile(r"-?0x[1-9a-f][0-9a-f]*")


def simple(value: object) -> object:
    """Return a subclass's int, float or str, such as an IntEnum's, as a plain one: Python calls the two equal."""
    for kind in (int, float, str):
        if isinstance(value, kind) and type(value) not in (kind, bool):
            return kind.__str__(value) if kind is str else kind(value)
    return value


def tagged(value: object) -> dict[str, str] | None:
    """Return the object for a value that JSON lacks, else None. All NaNs are one value."""
    if type(value) is int and value not in INT64:
        return {"int": hex(value)}
    if type(value) is float and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    if type(value) is str and not is_storable(value):
        return {"str": value.encode("utf-8", "surrogatepass").hex()}
    dtype = _dtype_name(value)
    return None if dtype is None else {"dtype": dtype}


def untagged(plain: Mapping[str, object]) -> Any:
    """Return the value of such an object. Raises IdentityError for any other object, and for an unknown dtype."""
    (tag, text), *more = [*plain.items(), (None, None)]
    if len(more) == 1 and isinstance(text, str) and text.isascii():
        if tag == "dtype":
            return _dtype_of(text)
        if tag == "int" and _HEX.fullmatch(text):
            return int(text, 16)
        if tag == "float" and text in ("nan", "inf", "-inf"):
            return float(text)
        if tag == "str":
            try:
                return bytes.fromhex(text).decode("utf-8", "surrogatepass")
            except ValueError:
                pass
    raise IdentityError("Expected a dtype, or an int, float or str that JSON lacks, got another object.")


def check_tagged(name: str, plain: Mapping[str, object]) -> None:
    """Raise IdentityError unless `tagged` writes this object. A dtype that this torch lacks passes."""
    dtype = plain.get("dtype")
    if len(plain) == 1 and isinstance(dtype, str) and _DTYPE.fullmatch(dtype):
        return
    if "dtype" in plain or tagged(untagged(plain)) != plain:
        raise IdentityError(f"{name}: expected a dtype, or a value that JSON lacks, got another object.")


def text_of(plain: Mapping[str, str]) -> str:
    """Return such an object as people read it: a dtype's short name, a number's text, a str with escapes."""
    (text,) = plain.values()
    if "str" in plain:
        return ascii(untagged(plain))[1:-1]
    return text.partition(".")[2] if "dtype" in plain else text


def is_storable(text: str) -> bool:
    """Say whether databases take a text: one without NUL and lone surrogates."""
    return "\0" not in text and (text.isascii() or not any(0xD800 <= ord(char) < 0xE000 for char in text))


def _dtype_name(value: object) -> str | None:
    """Return `torch.float32` or `triton.fp32` for a dtype, else None. Imports neither package to find out."""
    if type(value) is DtypeName:
        return value.name
    module = type(value).__module__
    if type(value).__name__ != "dtype" or module not in ("torch", "triton.language.core"):
        return None
    return _name_of_dtype(value, module)


@functools.lru_cache(maxsize=64, typed=True)  # most facts of a call are its tensors' dtypes
def _name_of_dtype(dtype: object, module: str) -> str:
    name = str(dtype).removeprefix("torch.")
    return f"{module.partition('.')[0]}.{name}"


def _dtype_of(name: str) -> Any:
    """Return the dtype of that name, from torch or Triton, which are imported for it."""
    if not _DTYPE.fullmatch(name):
        raise IdentityError(f"Expected a dtype's name such as torch.float32, got {name!r}.")
    package, _, short = name.partition(".")
    if package == "torch":
        import torch

        dtype = getattr(torch, short, None)
        if isinstance(dtype, torch.dtype):
            return dtype
    else:
        import triton.language as tl

        if short in tl.dtype.SINT_TYPES + tl.dtype.UINT_TYPES + tl.dtype.FP_TYPES + tl.dtype.OTHER_TYPES:
            return tl.dtype(short)
    raise IdentityError(f"This {package} has no dtype called {short!r}.")
