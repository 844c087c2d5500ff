"""The content of a function by its bytecode, for functions whose text can't always be found."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from tunedb.core.source_content import Content
from tunedb.core.source_values import cells_of


class OwnCode(Content):
    """The content of a function itself: its bytecode and what is bound to it, under wrappers, not what it calls.

    A lambda's text can't always be found, and what it calls may be a whole program.
    """

    def _function(self, function: FunctionType, home: str) -> str:
        bound = function.__defaults__, function.__kwdefaults__, cells_of(function)
        return f"{self._bytecode(function.__code__, home)} {self.of(bound, home)}"

    def _numbered(self, value: Any, home: str) -> str:
        inner = value
        while isinstance(inner, FunctionType) and hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        return super()._numbered(value, home) if inner is value else self.of(inner, home)

    def _class(self, kind: type, home: str) -> str:
        methods = (getattr(getattr(kind, name, None), "__code__", None) for name in ("__call__", "forward"))
        return f"{kind.__qualname__} {[self._bytecode(code, home) for code in methods if code is not None]}"

    def _bytecode(self, code: Any, home: str) -> str:
        constants = [self._bytecode(item, home) if type(item) is type(code) else self.of(item, home)
                     for item in code.co_consts]  # fmt: skip
        return f"{code.co_names} {constants} {code.co_code.hex()}"
