"""Starts the program of `tunedb run`: Python itself runs it in the place of this process, which adopts its kernels.

Replacing the process, rather than running the program inside it, leaves everything about it as it is without tunedb:
`sys.argv`, `sys.path`, `__main__`, tracebacks, signals, exit codes. What adopts the kernels of child processes adopts
those of the program too.
"""

from __future__ import annotations

import os
import sys

from tunedb._internal import child_environment
from tunedb.adoption import command_line
from tunedb.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_HELP = "See: tunedb run --help"
# What this interpreter may have been started with, and the program's may not.
_ISOLATING = ("-E", "-I", "-P", "-S", "-s")


def start_quickly(words: Sequence[str]) -> None:
    """Start the program of a command line; returns if there is a mistake in it, or if it asks for help."""
    options, program = command_line.split(words)
    values = command_line.read(options)
    if values is None or fault_of(program) is not None:
        return
    try:
        start(values, program)
    except (OSError, SettingError):  # the command says what is wrong
        return


def fault_of(program: Sequence[str]) -> str | None:
    """Return what is wrong with the words of a program, and what to type instead; None if it can be started."""
    word = program[0] if program else ""
    option, module = word[:2], word[2:] or "".join(program[1:2])
    if word == "-" or (option == "-c" and module):
        return None
    if option == "-m" and module:
        name = module.partition(".")[0]
        return None if _is_module(name) else f"There is no module named {name!r}. {_HELP}"
    if option in ("-c", "-m"):
        return f"Expected {'code' if option == '-c' else 'the name of a module'} after {option}, got nothing. {_HELP}"
    if not word:
        return f"Expected a Python file, or -m and the name of a module, got nothing. {_HELP}"
    if word.startswith("-"):
        return f"Expected a Python file, got {word!r}. For a file of that name: tunedb run ./{word}"
    if os.path.isdir(word):
        names = ("__main__.py", "__main__.pyc")
        is_program = any(os.path.exists(os.path.join(word, name)) for name in names)
        return None if is_program else f"The folder {word} has no __main__.py, which Python would run. {_HELP}"
    return None if os.path.exists(word) else f"There is no file {word}. {_hint(word)}"


def start(values: Mapping[str, Any], program: Sequence[str]) -> None:
    """Replace this process by the program. Raises OSError if the system refuses, and SettingError.

    values: those of the options, by the parameters of the command.
    """
    options: dict[str, Any] = {name: True for name in ("quiet", "verbose") if values.get(name)}
    options["selections"] = [(values.get("only"), values.get("skip"))]
    if values.get("record"):
        options["record"] = _writable(values["record"])
    if values.get("report") or values.get("output"):
        options["report"] = _report_options(values)
    environment = child_environment.environment_with(options)
    if values.get("store"):
        environment["TUNEDB_STORE"] = _independent_of_folder(values["store"])
    _replace_process([*_interpreter_options(), *program], environment)


def _replace_process(words: Sequence[str], environment: Mapping[str, str]) -> None:
    if not sys.executable:
        raise SettingError("This Python does not know where its program is: sys.executable is empty.")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execve(sys.executable, [sys.executable, *words], environment)


def _report_options(values: Mapping[str, Any]) -> dict[str, Any]:
    import tempfile

    output = _writable(values["output"]) if values.get("output") else None
    descriptor, lines = tempfile.mkstemp(prefix="tunedb-report-")
    os.close(descriptor)
    return {"main": os.getpid(), "lines": lines, "format": values.get("format", "table"), "output": output}


def _writable(path: str) -> str:
    """Return the absolute path of a file, which is made. Raises OSError now, and not after a day of training."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
    return os.path.abspath(path)


def _independent_of_folder(store: str) -> str:
    """Return the store by an absolute path: the program may change its folder."""
    is_plain_path = "://" not in store and store != ":memory:" and not store.startswith("~")
    return os.path.abspath(store) if is_plain_path else store


def _interpreter_options() -> list[str]:
    """Return the options that this Python was started with, such as `-X dev`, for the program's."""
    if sys.orig_argv[1:2] in (["-m"], sys.argv[:1]):  # it was started without any
        return []
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # multiprocessing uses it too

    options = [word for word in _args_from_interpreter_flags() if word not in _ISOLATING]
    options += ["-i"] if sys.flags.inspect else []
    return options + (["-u"] if getattr(sys.stdout, "write_through", False) else [])


def _is_module(name: str) -> bool:
    """Say whether Python finds a module, in the current folder too, where `python -m` looks first."""
    from importlib.machinery import PathFinder

    finds = [find for finder in sys.meta_path if (find := getattr(finder, "find_spec", None)) is not None]
    return any(find(name, None) for find in finds) or PathFinder.find_spec(name, [os.getcwd()]) is not None


def _hint(word: str) -> str:
    """Return what else a word without such a file may mean."""
    import shutil

    if word.isidentifier() and _is_module(word):
        return f"To run the module: tunedb run -m {word}"
    path = shutil.which(word)
    return _HELP if path is None else f"To run the program on the PATH, if it is written in Python: tunedb run {path}"
