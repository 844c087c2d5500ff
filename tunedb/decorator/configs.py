"""The candidates of a decorated kernel: `triton.Config` objects, each with the `tunedb.Config` that it is stored as.

A stored config is matched to an object of the current list, so that it comes back with its pre_hook and with knobs that
JSON can't hold.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import triton
from triton.runtime.errors import AutotunerError

from tunedb.core.problem import LAUNCH_OPTIONS, Config
from tunedb.core.source_hash import short_hash
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.call.problem import name_and_hash
from tunedb.decorator.call.specialization import function_name
from tunedb.errors import IdentityError

_OPTIONS = (*LAUNCH_OPTIONS, "ir_override")  # what a triton.Config takes besides its kwargs


class Candidates:
    """The current list of configs, in its order; the first is the default."""

    def __init__(self, configs: Sequence[triton.Config]) -> None:
        self.by_stored_form: dict[Config, triton.Config] = {}
        self.in_order: list[Config] = []  # as long as the list
        self._stored: dict[int, Config] = {}  # by the object's id: the objects live as long as the list
        for config in configs:
            stored = stored_form(config)
            place = 1
            while stored in self.by_stored_form and not _is_alike(self.by_stored_form[stored], config):
                place += 1  # the same knobs with another hook, or with values that have the same text
                stored = Config.of(**{**stored_form(config), "pre_hook": place})
            self.by_stored_form.setdefault(stored, config)
            self._stored[id(config)] = stored
            self.in_order.append(stored)

    def stored(self, config: triton.Config) -> Config:
        """Return the stored form of a config of the list, or of one that a pruning function made."""
        stored = self._stored.get(id(config))
        return stored_form(config) if stored is None else stored

    def config(self, stored: Config, pruned: Mapping[Config, triton.Config] | None = None) -> triton.Config:
        """Return the object for a stored config: of `pruned`, of the list, or else the default with its knobs changed.

        The default with changed knobs is for a config that an override forces.
        """
        config = (pruned or {}).get(stored) or self.by_stored_form.get(stored)
        return config or self._forced(stored)

    def _forced(self, stored: Config) -> triton.Config:
        default_stored, default = next(iter(self.by_stored_form.items()))
        made = copy.copy(default)
        made.kwargs = dict(default.kwargs)
        for name, value in stored.items():
            if default_stored.get(name) == value:
                continue
            if name in made.kwargs or name not in _OPTIONS:
                made.kwargs[name] = value
            else:
                setattr(made, name, value)
        return made


def _is_alike(config: triton.Config, other: triton.Config) -> bool:
    """Say whether two configs with one stored form are one: a str may have the text of a tuple."""
    types, other_types = (list(map(type, one.all_kwargs().values())) for one in (config, other))
    return config.pre_hook is other.pre_hook and types == other_types


def stored_form(config: triton.Config) -> Config:
    """Return a config's knobs as they are stored: what JSON can't hold, such as a tuple or a function, as text.

    Raises HashUnavailable for a function without a hash, and for an object that only its address identifies.
    """
    return Config.of(**{name: _storable(value) for name, value in config.all_kwargs().items()})


def _storable(value: Any) -> Any:
    if type(value).__name__ == "constexpr":
        value = value.value
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value).__name__ == "dtype":
        with contextlib.suppress(IdentityError):  # a dtype of another package
            Config.of(value=value)
            return value
    return _text(value)


def _text(value: Any) -> str:
    """Return a knob as text that is the same in every process."""
    if function_name(value) is not None:
        return name_and_hash(value)
    if type(value) in (tuple, list):
        items = ", ".join(map(_text, value)) + ("," if len(value) == 1 and type(value) is tuple else "")
        return f"({items})" if type(value) is tuple else f"[{items}]"
    text = ascii(value)
    without_address = re.sub(" at 0x[0-9a-f]+", "", text)
    return text if text == without_address else f"{without_address}@{short_hash(value)}"


def pruned(
    configs: list[triton.Config],
    call: Call,
    *,
    positional: Sequence[str],
    early_config_prune: Callable[..., Any] | None,
    perf_model: Callable[..., Any] | None,
    top_k: float,
) -> list[triton.Config]:
    """Return the configs that are left for a call, pruned as triton.autotune does.

    Raises AutotunerError if none is left, TypeError for a `top_k` that is neither an int nor a float up to 1.
    """
    if early_config_prune is None and perf_model is None:
        return configs
    named = dict(zip(positional, call.args, strict=False))
    left = configs
    if early_config_prune is not None:
        left = early_config_prune(configs, named, **call.extra)
        if not left:
            raise AutotunerError(
                "No valid autotuner configs after pruning. `early_config_prune` should return at least one config."
            )
    if perf_model is not None:
        if isinstance(top_k, float) and top_k <= 1.0:
            limit = max(1, int(len(configs) * top_k))  # a share of the whole list, also if other pruning came first
        elif isinstance(top_k, int):
            limit = top_k
        else:
            raise TypeError("Error while pruning configs, top_k must be either 1) a float <= 1.0 or 2) an int")
        if len(left) > limit:
            estimates = [perf_model(**named, **call.extra, **config.all_kwargs()) for config in left]
            left = [left[place] for place in sorted(range(len(left)), key=estimates.__getitem__)[:limit]]
        if not left:
            raise AutotunerError(f"No valid autotuner configs after pruning: top_k is {top_k}, which leaves none.")
    return left


def run_hook(config: triton.Config, call: Call) -> None:
    """Run a config's own hook, if it has one, with the call's arguments and the config's knobs."""
    if config.pre_hook is not None:
        config.pre_hook(arguments_with(config, call))


def arguments_with(config: triton.Config, call: Call) -> dict[str, Any]:
    """Return what a hook gets: the call's arguments by name, its grid and options, and the config's knobs."""
    return {**call.named, **call.extra, **config.all_kwargs()}


def contents_of(configs: Sequence[triton.Config]) -> list[Any]:
    """Return the configs of a list, with the hook and the knobs of each, to compare one by one by identity."""
    return [
        part
        for config in configs
        for part in (config, config.pre_hook, *itertools.chain.from_iterable(config.all_kwargs().items()))
    ]


def check_conflicts(call: Call, configs: Sequence[triton.Config]) -> None:
    """Raise ValueError if the caller passes a knob that a config sets."""
    names = set(call.named)
    for config in configs:
        conflicts = sorted(names & set(config.all_kwargs()))
        if conflicts:
            raise ValueError(
                f"Conflicting meta-parameters: {', '.join(conflicts)}. "
                "Make sure that you don't re-define auto-tuned symbols."
            )
