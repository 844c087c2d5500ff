"""The content of functions, classes and values as text: the same in every process and in every place.

Functions, classes and objects are numbered in the order in which they are reached, and refer to each other by these
numbers. The text names no module or file, except those of the standard library, torch, triton, numpy and tunedb.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from tunedb.core import source_cache
from tunedb.core.jit_function import compiled_text, is_jit, options_of
from tunedb.core.source_skeleton import Chain, Import
from tunedb.core.source_text import HashUnavailable, Source, source_of_jit, source_of_plain
from tunedb.core.source_values import COMPILERS, array_of, callable_parts, cells_of, is_dtype, state_of

_OWN = __name__.partition(".")[0]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_ANNOTATE = ("__annotate__", "__annotate_func__", "__conditional_annotations__")  # made by newer Pythons


def package_of(module: str, scope: Mapping[str, Any] | None = None) -> str:
    """Return the package of a module: the first part of its name. It decides how far a hash looks, and is not in it.

    All modules outside of packages are one package, and each folder of tunedb is one.
    """
    top, _, rest = module.partition(".")
    if top == _OWN:
        return ".".join(module.split(".")[:2])
    if rest or top in COMPILERS or top in sys.stdlib_module_names:
        return top
    if scope is None:
        scope = vars(sys.modules[module]) if module in sys.modules else {}
    return str(scope.get("__package__") or "").partition(".")[0]


def _is_foreign(package: str, home: str) -> bool:
    """Say whether a hash made in package `home` takes only the names of what this package defines."""
    top = package.partition(".")[0]
    return package != home and (top in COMPILERS or top == _OWN or top in sys.stdlib_module_names)


class Content:
    """Functions, classes and objects, each on a line. A function's own text stands there as the digest of its source.

    `seen` is what a program can replace later, as functions that read it, each with what it was: the texts of jit
    functions, and the jit functions that globals named.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seen: list[tuple[Callable[[], object], object]] = []
        self._sources: dict[str, Source] = {}  # by what stands for them in the lines
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # an id is an object's for as long as it lives

    def digest(self) -> str:
        """Return the SHA-256 of the text. It follows from the lines, so that known ones need no text."""
        by_lines = _sha256("\n".join(self.lines))
        if not self._sources:
            return by_lines
        cache = source_cache.active()
        digest = cache.get_hash(by_lines)
        if digest is None:
            digest = _sha256(self.text())
            cache.put_hash(by_lines, digest)
        return digest

    def text(self) -> str:
        """Return all lines with the functions' own texts."""
        text = "\n".join(self.lines)
        for mark, source in self._sources.items():
            text = text.replace(mark, source.text)
        return text

    def add(self, value: Any, home: str) -> None:
        """Add a value, and all that it refers to, as it is seen from the package `home`. Raises HashUnavailable."""
        self.lines.append(self.of(value, home))

    def of(self, value: Any, home: str) -> str:
        """Return a value as text; what has a line of its own is named by the line's number."""
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if id(value) in self._numbers:
            return f"#{self._numbers[id(value)]}"
        if kind is tuple or kind is list:
            return f"{kind.__name__}({', '.join(self.of(item, home) for item in value)})"
        if kind is set or kind is frozenset:
            return f"{kind.__name__}({', '.join(sorted(self._apart(item, home) for item in value))})"
        if kind is dict or kind is MappingProxyType:
            pairs = [(self._apart(name, home), item) for name, item in value.items()]
            return f"dict({', '.join(f'{name}: {self.of(item, home)}' for name, item in sorted(pairs, key=_first))})"
        if kind is ModuleType or isinstance(value, ModuleType):
            return f"module {value.__name__}" if _is_foreign(package_of(value.__name__), home) else "module"
        if is_dtype(kind):
            return f"dtype {value}"
        return self._numbered(value, home)

    def _apart(self, value: Any, home: str) -> str:
        """Return a value's text or a hash of it, to sort values by: it does not depend on the lines so far."""
        if type(value) in _PLAIN:
            return repr(value)
        apart = type(self)()
        apart.add(value, home)
        self.seen += apart.seen
        return apart.digest()

    def _numbered(self, value: Any, home: str) -> str:
        number = self._numbers[id(value)] = len(self.lines)
        self._kept.append(value)
        self.lines.append("")
        if isinstance(value, type):
            self.lines[number] = self._class(value, home)
        elif isinstance(value, FunctionType):
            self.lines[number] = self._function(value, home)
        else:
            parts = callable_parts(value)
            self.lines[number] = self._object(value, home) if parts is None else self._parts(parts, value, home)
        return f"#{number}"

    def _parts(self, parts: tuple[Any, ...], value: Any, home: str) -> str:
        if not is_jit(value):
            return f"{_name(type(value))} {self.of(parts, home)}"
        function = value.fn
        package = package_of(function.__globals__.get("__name__", ""), function.__globals__)
        if package in COMPILERS and package != home:
            return f"{package} {function.__qualname__}"
        self.seen.append((partial(compiled_text, value), compiled_text(value)))
        source = source_of_jit(value)
        options = self.of(options_of(value), package)
        return f"jit {options} {self._body(source, function, package)}"

    def _function(self, function: FunctionType, home: str) -> str:
        package = package_of(function.__globals__.get("__name__", ""), function.__globals__)
        if _is_foreign(package, home):
            inner = getattr(function, "__wrapped__", None)
            bound = inner if inner is not None else cells_of(function)
            name = getattr(function.__code__, "co_qualname", function.__qualname__)
            return f"{package.partition('.')[0]} {name} {self.of(bound, home)}"
        if package != home:
            try:
                return self._mark(source_of_plain(function))  # of another package its text, and not what that calls
            except HashUnavailable:
                return f"{function.__qualname__}"
        return self._body(source_of_plain(function), function, package)

    def _mark(self, source: Source) -> str:
        """Return what stands for a source in a line. NUL is in no other part of it."""
        mark = f"\0{source.digest}\0"
        self._sources[mark] = source
        return mark

    def _body(self, source: Source, function: FunctionType, home: str) -> str:
        words = [self._mark(source), self.of(function.__defaults__, home), self.of(function.__kwdefaults__, home)]
        scope = {**function.__globals__, **cells_of(function)}
        for name, wanted in source.reads.imports.items():
            scope[name] = _imported(wanted, function, home)
        for chain in source.reads.chains:
            if chain[0] in scope:
                place, value = _resolved(chain, scope, home)
                if is_jit(value) and function.__globals__.get(chain[0]) is scope[chain[0]]:
                    self.seen.append((partial(_named, function.__globals__, chain[:place]), value))
                words.append(f"{'.'.join(chain[:place])}={self.of(value, home)}")
        return " ".join(words)

    def _class(self, kind: type, home: str) -> str:
        package = package_of(kind.__module__)
        if package != home or kind.__module__ == "builtins":
            return f"{package.partition('.')[0] if _is_foreign(package, home) else ''} {kind.__qualname__}"
        is_made = dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
        members: dict[str, Any] = {}
        for name, member in vars(kind).items():
            inner = getattr(member, "__func__", None) or getattr(member, "func", None) or member
            if isinstance(inner, FunctionType):
                origin = package_of(inner.__globals__.get("__name__", ""), inner.__globals__)
                is_generated = inner.__code__.co_filename.startswith("<") and is_made
                if name in _ANNOTATE or is_generated or (origin != home and (name.startswith("__") or is_made)):
                    continue
                members[name] = _name(type(member)), inner
            elif isinstance(member, property):
                members[name] = "property", member.fget, member.fset, member.fdel
            elif _is_member(kind, name, member):
                members[name] = member
        if isinstance(kind, enum.EnumMeta):
            values: Mapping[str, Any] = kind.__members__
            members["__members__"] = {name: member.value for name, member in values.items()}
        if dataclasses.is_dataclass(kind):
            members["__fields__"] = [(field.name, _default(field)) for field in dataclasses.fields(kind)]
        if issubclass(kind, tuple) and is_made:
            members["__fields__"] = kind._fields, getattr(kind, "_field_defaults", {})  # type: ignore[attr-defined]
        if getattr(kind, "__triton_aggregate__", False):
            members["__fields__"] = list(vars(kind).get("__annotations__", {}).items())
        bases = [base for base in kind.__bases__ if base is not object]
        return f"class {kind.__name__} {self.of(bases, home)} {self.of(members, home)}"

    def _object(self, value: Any, home: str) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            return f"{self.of(kind, home)} {value.name} {self.of(value.value, home)}"
        if dataclasses.is_dataclass(kind):
            state = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(kind)]
            return f"{self.of(kind, home)} {self.of(state, home)}"
        if isinstance(value, tuple):
            return f"{self.of(kind, home)} {self.of(list(value), home)}"
        if kind.__name__ == "constexpr" and hasattr(value, "value"):
            return f"constexpr {self.of(value.value, home)}"
        if hasattr(value, "untyped_storage") or hasattr(value, "tobytes"):
            return f"array {array_of(value)}"
        lines, seen = len(self.lines), len(self.seen)
        try:
            return f"{self.of(kind, home)} {self.of(state_of(value), home)}"
        except HashUnavailable:
            text = repr(value)
            if not _is_foreign(package_of(kind.__module__), home) or " at 0x" in text or _is_bare(kind):
                raise
            del self.lines[lines:], self.seen[seen:]
            self._numbers = {key: number for key, number in self._numbers.items() if number < lines}
            return f"{_name(kind)} {text}"


def _resolved(chain: Chain, scope: Mapping[str, Any], home: str) -> tuple[int, Any]:
    """Return how many names of a chain lead through modules, and the value behind them. Stops at other packages."""
    value, place = scope[chain[0]], 1
    while isinstance(value, ModuleType) and place < len(chain):
        if _is_foreign(package_of(value.__name__, vars(value)), home):
            break
        value, place = getattr(value, chain[place], None), place + 1
    return place, value


def _named(scope: Mapping[str, Any], chain: Chain) -> Any:
    """Return what these names lead to; None if they lead nowhere any more."""
    value = scope.get(chain[0])
    for name in chain[1:]:
        value = getattr(value, name, None)
    return value


def _imported(wanted: Import, function: FunctionType, home: str) -> Any:
    """Return the value of an import inside a function; None if it fails, which code may intend."""
    module, level, name = wanted
    try:
        if level:
            module = importlib.util.resolve_name("." * level + module, function.__globals__.get("__package__") or "")
        if _is_foreign(package_of(module), home):
            return f"{module}.{name}"
        imported = importlib.import_module(module)
        return imported if name is None else getattr(imported, name, None)
    except ImportError:
        return None


def _default(field: dataclasses.Field[Any]) -> Any:
    defaults = [getattr(field, name) for name in ("default", "default_factory")]
    return [None if default is dataclasses.MISSING else ("given", default) for default in defaults]


def _is_member(kind: type, name: str, member: Any) -> bool:
    """Say whether an attribute of a class is content, and not something that Python made for itself."""
    if name.startswith("__") and name.endswith("__"):
        return is_jit(member)
    made = type(member).__name__ in ("member_descriptor", "getset_descriptor", "_tuplegetter", "_abc_data")
    return not made and not isinstance(kind, enum.EnumMeta) and name not in ("_fields", "_field_defaults")


def _is_bare(kind: type) -> bool:
    return getattr(kind, "__repr__", None) is getattr(object, "__repr__", None)


def _name(kind: type) -> str:
    return f"{kind.__module__.partition('.')[0]} {kind.__qualname__}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]
