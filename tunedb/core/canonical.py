"""Canonical JSON, which gives problems, configs and devices their identity, and its digest.

Equal facts give equal text on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tunedb.core.tagged import INT64, check_tagged, is_storable, simple, tagged
from tunedb.errors import IdentityError


def _plain(name: str, value: object) -> object:
    """Return `value` as JSON can hold it. Raises IdentityError if it would not come back as itself."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        if value not in INT64:
            raise IdentityError(f"{name}: {value:#x} does not fit into 64 bits.")
        return value
    if type(value) is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise IdentityError(f"{name}: {value} has no canonical form. Use None or a string.")
        return value
    if type(value) is str:
        if not is_storable(value):
            raise IdentityError(f"{name}: {value!r} holds a NUL or a lone surrogate, which databases refuse.")
        return value
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise IdentityError(f"{name}: expected None, bool, int, float, str or a dtype, got a {kind}. Convert it first.")


def _fact(name: str, value: object) -> object:
    """Return a value of a problem or a config, which may be one that JSON lacks."""
    if value is None or type(value) is bool or (type(value) is int and value in INT64):
        return value  # as most are
    value = simple(value)
    plain = tagged(value)
    if plain is None:
        return _plain(name, value)
    check_tagged(name, plain)
    return plain


# Made once: `json.dumps` with these options makes one at each call.
dump: Callable[[Mapping[str, object]], str] = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def canonical(facts: Mapping[str, object]) -> str:
    """Return the canonical JSON of a flat mapping: sorted keys, compact, ASCII; equal mappings give equal text.

    Raises IdentityError if a name is not a str, or a value would not come back as itself.
    """
    _check_names(facts)
    return dump({name: _plain(name, value) for name, value in facts.items()})


def plain_facts(facts: Mapping[str, object]) -> dict[str, Any]:
    """Return a problem's or a config's facts as canonical JSON holds them, of which `dump` makes the text.

    The same as `parse_canonical` of that text, without parsing. A dtype, an int of any size, an infinity, NaN and any
    str are facts too. Raises IdentityError as `canonical` does.
    """
    _check_names(facts)
    return {name: _fact(name, facts[name]) for name in sorted(facts)}


def _check_names(facts: Mapping[str, object]) -> None:
    for name in facts:
        if type(name) is not str or not name or "\0" in name:
            raise IdentityError(f"A name of a fact: expected a non-empty str without NUL, got {name!r}.")


def _refuse_constant(text: str) -> object:
    raise IdentityError(f"Expected a canonical value, got {text}.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique_pairs = dict(pairs)
    if len(unique_pairs) != len(pairs):
        raise IdentityError("A key occurs twice in one object.")
    return unique_pairs


def _integer(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in INT64:
        raise IdentityError(f"{digits[:20]}... does not fit into 64 bits.")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise IdentityError(f"{digits[:20]} is more than a float holds.")
    return value


# Made once: `json.loads` with these options makes one at each call.
_parse: Callable[[str], Any] = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_integer, parse_float=_number, object_pairs_hook=_unique
).decode


def parse_json(text: str) -> Any:
    """Parse JSON as strictly as it is written: no NaN, infinity, repeated key, endless digits or deep nesting."""
    try:
        return _parse(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise IdentityError(f"Expected JSON: {error}.") from None


def parse_canonical(text: str) -> dict[str, Any]:
    """Parse a canonical text into a plain mapping, in which a dtype is still `{"dtype": "torch.float32"}`.

    Raises IdentityError if the text is anything but what `dump` makes of `plain_facts`.
    """
    plain = parse_json(text)
    if not isinstance(plain, dict):
        raise IdentityError(f"Expected a JSON object, got a {type(plain).__name__}.")
    for name, value in plain.items():
        if isinstance(value, dict):
            check_tagged(name, value)
        else:
            _plain(name, value)
    if dump(plain) != text:
        raise IdentityError("The JSON is not in canonical form (sorted, compact, ASCII).")
    return plain


def digest_of(text: str) -> str:
    """Return the SHA-256 of a canonical (ASCII) text, in hexadecimal."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()
