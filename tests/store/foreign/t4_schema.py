"""The schema of T4 results 1.0.0, as the autotuning community describes it, in our own words."""

from __future__ import annotations

from typing import Any

_MEASUREMENT = {
    "type": "object",
    "required": ["name", "value", "unit"],
    "properties": {"name": {"type": "string"}, "value": {}, "unit": {"type": "string"}},
}
_TIME = {"type": "number", "minimum": 0}
_TIMES = {
    "type": "object",
    "required": ["compilation_time", "benchmark", "framework", "search_algorithm", "validation", "runtimes"],
    "properties": {
        "compilation_time": _TIME,
        "compilation": _TIME,
        "benchmark": _TIME,
        "framework": _TIME,
        "search_algorithm": _TIME,
        "validation": _TIME,
        "runtimes": {"type": "array", "items": _TIME},
    },
}
_RESULT = {
    "type": "object",
    "required": [
        "timestamp", "configuration", "objectives", "times", "invalidity", "correctness", "measurements",
    ],
    "properties": {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"},
        "configuration": {"type": "object"},
        "objectives": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "times": _TIMES,
        "invalidity": {"enum": ["correct", "compile", "runtime", "timeout", "correctness", "constraints"]},
        "correctness": {"type": "number", "minimum": 0, "maximum": 1},
        "measurements": {"type": "array", "items": _MEASUREMENT},
    },
}  # fmt: skip
T4_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["schema_version", "results"],
    "properties": {
        "schema_version": {"const": "1.0.0"},
        "metadata": {"type": "object"},
        "results": {"type": "array", "items": _RESULT},
    },
}
