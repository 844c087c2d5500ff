"""`tunedb env`: what a bug report needs to know of this machine."""

from __future__ import annotations

import platform
from importlib import metadata

import tunedb
from tunedb import registry, settings
from tunedb.cli.command import FormatOption, command
from tunedb.cli.output import Format, print_record
from tunedb.errors import TunedbError

_PACKAGES = (
    "torch", "triton", "numpy", "sqlalchemy", "alembic", "psycopg", "filelock", "platformdirs", "typer", "rich",
)  # fmt: skip


@command("env", configured=False)
def env(store: str | None, format: FormatOption = Format.table) -> None:
    """Print the versions, devices and settings that a bug report needs.

    Leaves out passwords, and settings that have their default value. Works with unusable settings too.
    """
    from tunedb.store.sql import revision, sqlite_file

    used, faults = settings.read_usable({} if store is None else {"store": store})
    given = {row["setting"]: row["value"] for row in settings.as_rows(used) if row["source"] != "default"}
    print_record(
        {
            "tunedb": tunedb.__version__,
            "schema": revision.HEAD,
            "store_schema": _stored_schema(used.store),
            "python": platform.python_version(),
            "system": platform.platform(),
            **{name: _version(name) for name in _PACKAGES},
            "sqlite": sqlite_file.library_version(),
            "driver": _driver(),
            "device": _device(),
            "kernels": registry.kernel_names(),
            "settings": given,
            "faults": [str(fault) for fault in faults],
            "unknown_variables": settings.unknown_variables(),
        },
        format,
    )


def _version(package: str) -> str | None:
    from tunedb.runtime import versions

    try:
        if package == "torch":
            build = versions.torch_build()
            made_for = f"CUDA {build.cuda}" if build.cuda else f"HIP {build.hip}" if build.hip else "CPU"
            return f"{build.version} for {made_for}"
        return versions.triton_version() if package == "triton" else metadata.version(package)
    except (ModuleNotFoundError, metadata.PackageNotFoundError):
        return None


def _driver() -> str | None:
    from tunedb.runtime import driver

    return driver.kernel_driver_version() if driver.has_driver() else None


def _device() -> str | None:
    from tunedb.cli.device import current_device_if_any

    device = current_device_if_any()
    return None if device is None else str(device)


def _stored_schema(url: str) -> str | None:
    """Return the store's schema, or the reason why it can't be read. Returns None without a store."""
    from tunedb.store.sql import schema

    try:
        return schema.current(url)
    except TunedbError as error:
        return f"unknown: {error}"
