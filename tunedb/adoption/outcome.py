"""What becomes of a kernel of Triton's: a companion serves its calls, or Triton does, for a reason."""

from __future__ import annotations

import logging
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.adoption import selection
from tunedb.adoption.companion import Companion
from tunedb.adoption.refusal import ONE_CONFIG, Refused, check, full_name, has_plain_cache
from tunedb.core.source_text import HashUnavailable
from tunedb.errors import AllConfigsFailed, IdentityError, SettingError

_log = logging.getLogger("tunedb")


class Outcome:
    """What became of one kernel: its companion, or the reason why Triton serves it.

    It lies in the kernel's `__dict__`, and is void in copies of the kernel. `refusals` are the errors with which a
    companion refuses a call that Triton might serve, before it has launched anything. After a `failure`, which no
    program that is written for Triton expects, the companion serves the same call by the first config, as Triton does.
    """

    refusals = (Refused, IdentityError)
    failure = AllConfigsFailed

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.companion: Companion | None = None
        self.reason = ""
        self.has_one_config = False
        self._module, self._name = "", type(kernel).__qualname__
        self._is_selected = True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # deep copies and pickles of the kernel hold None instead

    def is_outdated(self) -> bool:
        """Say whether a kernel that had one config has several now."""
        return self.has_one_config and len(self.kernel.__dict__["configs"]) > 1

    @property
    def is_selection_current(self) -> bool:
        """Whether the selections in force treat the kernel as they did."""
        return self._is_selected == selection.is_selected(self._module, self._name)

    def decide(self) -> Outcome:
        """Make the companion, or note why there is none. Raises nothing."""
        try:
            self._module, self._name = full_name(self.kernel)
            self._is_selected = selection.is_selected(self._module, self._name)
            if not self._is_selected:
                raise Refused("`only` and `skip` leave it out")
            check(self.kernel)
            self.companion = Companion(self.kernel)
        except (Refused, SettingError) as refused:
            self.reason = str(refused)
            self.has_one_config = self.reason == ONE_CONFIG
        # The kernel may be of any subclass, and wrap anything: its caller gets what Triton gives, and never our errors.
        except Exception as error:
            let_pass(error)
            self.reason = f"tunedb failed to adopt it ({type(error).__name__}: {error})"
            _log.warning("triton.autotune serves the calls of %s: %s.", self._name, self.reason)
        return self

    def why_kept(self) -> str:
        """Return why Triton serves the kernel's calls; an empty text if tunedb does."""
        companion = self.companion
        if companion is None:
            return self.reason
        try:
            _ = companion.source_hash
        except HashUnavailable as error:
            return f"it has no hash, so Triton tunes it: {error}"
        return ""

    def refuse(self, reason: object) -> None:
        """Leave the kernel to Triton from now on."""
        if self.companion is None:  # another thread's call was refused too
            return
        self.leave_results()
        self.companion, self.reason = None, str(reason)
        _log.warning("%s is left to triton.autotune: %s.", self._name, str(reason).rstrip("."))

    def leave_results(self) -> None:
        """Leave in the kernel's attributes what its calls left, and in its cache the entries that are not ours."""
        companion, attributes = self.companion, self.kernel.__dict__
        if companion is None:
            return
        if has_plain_cache(self.kernel):
            attributes["cache"] = dict(companion.cache.forced)
        for name in ("best_config", "bench_time", "configs_timings"):
            value = getattr(companion, name)
            if value:
                attributes[name] = value
