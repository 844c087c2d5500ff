"""The versions of torch and Triton, read from their files unless they are loaded: loading them takes seconds."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tunedb._internal.control import let_pass

_ASSIGNED = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(None|(['\"])([^'\"\n]*)\3)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The version of torch, and the version of CUDA or HIP that it was built for: None for neither."""

    version: str
    cuda: str | None
    hip: str | None


@functools.cache
def torch_build() -> TorchBuild:
    """Return what the installed torch is. Raises ModuleNotFoundError if none is."""
    if "torch" not in sys.modules:
        stated = _assigned("torch", "version.py")
        version = stated.get("__version__")
        if version is not None and {"cuda", "hip"} <= stated.keys():
            return TorchBuild(version, stated["cuda"], stated["hip"])
    import torch

    return TorchBuild(str(torch.__version__), torch.version.cuda, torch.version.hip)


@functools.cache
def triton_version() -> str:
    """Return the version of the installed Triton. Raises ModuleNotFoundError if none is.

    Not by its distribution's name, which differs among nightlies and ROCm's builds.
    """
    if "triton" not in sys.modules:
        version = _assigned("triton", "__init__.py").get("__version__")
        if version is not None:
            return version
    import triton

    return str(triton.__version__)


def _assigned(package: str, file: str) -> dict[str, str | None]:
    """Return the texts and Nones that a package's file assigns to names; none if it can't be read."""
    try:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return {}
        text = (Path(spec.origin).parent / file).read_text(encoding="utf-8")
    # A module that a test or a tool put in the place of the package has no file: importing it says more.
    except (OSError, ValueError) as error:
        let_pass(error)
        return {}
    return {match[1]: None if match[2] == "None" else match[4] for match in _ASSIGNED.finditer(text)}
