"""The public names: complete, sorted, documented, and none of them a module's."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import tunedb
import tunedb.kernels

PUBLIC = {name: getattr(tunedb, name) for name in tunedb.__all__} | {
    name: getattr(tunedb.kernels, name) for name in tunedb.kernels.__all__
}


@pytest.mark.parametrize("module", [tunedb, tunedb.kernels])
def test_the_list_of_public_names_is_sorted_and_complete(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]  # a module
    assert list(names) == sorted(names)
    assert set(names) <= set(dir(module))


def test_every_error_is_public() -> None:
    from tunedb import errors

    raised = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert raised <= set(tunedb.__all__)


def test_no_name_of_a_package_is_also_one_of_its_modules() -> None:
    """Importing the module would put it in the place of what the package calls so."""
    packages = ["tunedb", *(found.name for found in pkgutil.walk_packages(tunedb.__path__, "tunedb.") if found.ispkg)]
    for package in map(importlib.import_module, packages):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert modules & set(getattr(package, "__all__", ())) == set(), package.__name__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert (inspect.getdoc(PUBLIC[name]) or "").strip()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        tunedb.nothing_of_ours  # noqa: B018 - the access is the test


def test_the_signatures_are_torchs() -> None:
    import torch

    names = ["input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]
    assert list(inspect.signature(tunedb.kernels.avg_pool1d).parameters) == names
    ours, theirs = (inspect.signature(module.__init__) for module in (tunedb.kernels.AvgPool1d, torch.nn.AvgPool1d))
    assert ours == theirs
