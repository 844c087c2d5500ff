"""Programs in forks of a process that has imported what they import: that takes longer than most of them.

Triton is never imported there, and tunedb only if it is asked for, without what imports torch: a program imports them
itself, with its own environment and path.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parent.parent
MAX_REQUEST = 1_000_000  # bytes
SERVER = "import sys; from tests.forked import serve; sys.exit(serve(int(sys.argv[1]), sys.argv[2:]))"
LIBRARIES = (
    "alembic.command", "filelock", "platformdirs", "rich.markdown", "rich.progress", "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm", "typer",
)  # fmt: skip
WITH_TORCH = ("torch", *LIBRARIES)
# For programs that are not about imports. No module of tunedb reads the environment when it is imported.
WITH_TUNEDB = (
    *LIBRARIES, "tunedb.cli.commands.warm", "tunedb.cli.host_tasks", "tunedb.cli.opening",
    "tunedb.store.exchange.sync", "tunedb.store.remote", "tunedb.store.sql.store", "tunedb.tuner.turn",
)  # fmt: skip
TOPS = tuple(name.partition(".")[0] for name in LIBRARIES)
LOADED_LATER = ("alembic.config", "sqlite3", "typer.rich_utils", "typer._adapters")  # by these, if they have them


def run(
    words: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = ".",
    timeout: float = 120,
    libraries: Sequence[str] = WITH_TORCH,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words (`-c CODE`, `-m MODULE` or a file, and arguments), as subprocess.run does.

    The program ends as any other does, with its exit handlers and threads; libraries in C don't (`_end_quickly`). It
    has the server's hash seed and options.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, Path(os.devnull).open() as nothing:
        streams = [nothing.fileno(), out.fileno(), err.fileno()]
        pid, answers = _begin(words, env, cwd, streams, libraries, timeout)
        with answers:
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess([str(word) for word in words], code, out.read(), err.read())


def prepare(libraries: Sequence[str]) -> None:
    """Start the process that forks, unless it is there."""
    _server(tuple(libraries))


class Program:
    """A program that runs in a fork, with pipes on all sides, as subprocess.Popen gives it."""

    def __init__(
        self,
        words: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = ".",
        libraries: Sequence[str] = LIBRARIES,
        output: int | None = None,
        inherits: int | None = None,
    ) -> None:
        """Begin it. It says all on the descriptor `output` if there is one, and gets `inherits` under its number."""
        pipes = [os.pipe() for _ in range(3)]
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
        self.stdin, self.stdout, self.stderr = os.fdopen(ours_in, "w"), os.fdopen(ours_out), os.fdopen(ours_err)
        if output is not None:
            os.dup2(output, theirs_out, inheritable=False)
            os.dup2(output, theirs_err, inheritable=False)
            self.stdout.close()
            self.stderr.close()
        theirs = [theirs_in, theirs_out, theirs_err]
        try:
            self.pid, self._answers = _begin(words, env, cwd, theirs, libraries, None, inherits)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.returncode: int | None = None
        self._codes: list[int] = []
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def _wait(self) -> None:
        with self._answers:
            self._codes.append(int(self._answers.readline()))

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        if self.returncode is None and self._codes:
            self.returncode = self._codes[0]
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        """Return the exit code when it has ended; it is killed if it takes longer."""
        self._waiter.join(timeout)
        if self.poll() is None:
            self.kill()
            raise subprocess.TimeoutExpired("a program in a fork", timeout)
        return self._codes[0]

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close its streams, on this side."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Close its input; return the rest of what it says, when it has ended."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        said = ["", ""]

        def read(number: int) -> None:
            with (self.stdout, self.stderr)[number] as stream:
                said[number] = stream.read()

        readers = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(2)]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return said[0], said[1]


def _begin(
    words: Sequence[object],
    env: Mapping[str, str] | None,
    cwd: Path | str,
    streams: Sequence[int],
    libraries: Sequence[str],
    timeout: float | None,
    inherits: int | None = None,
) -> tuple[int, TextIO]:
    """Start a program on these streams; return its id and where its exit code will stand."""
    request = {
        "words": [str(word) for word in words],
        "env": dict(os.environ if env is None else env),
        "cwd": str(Path(cwd).absolute()),
        "inherits": inherits,
    }
    others = [] if inherits is None else [inherits]
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(
                _server(tuple(libraries)), [json.dumps(request).encode()], [*streams, theirs.fileno(), *others]
            )
        ours.settimeout(timeout)
        answers = ours.makefile()
        return int(answers.readline()), answers


@functools.cache
def _server(libraries: tuple[str, ...]) -> socket.socket:
    """Start the process that forks, once; it ends when this end of its socket closes."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        words = [sys.executable, "-c", SERVER, str(number), *libraries]
        process = subprocess.Popen(words, cwd=ROOT, pass_fds=[number])
    atexit.register(process.wait)
    atexit.register(ours.close)  # before that
    return ours


def serve(number: int, libraries: Sequence[str]) -> int | str | None:
    """Fork once for each request; return the exit code of the program in its fork, and in the server at the end."""
    for library in libraries:
        importlib.import_module(library)
    for module in LOADED_LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    loaded = {name.partition(".")[0] for name in sys.modules if name not in ("tests", __name__)}
    asked = {library.partition(".")[0] for library in libraries}
    assert not loaded & ({"torch", "triton", "tunedb", "tests"} - asked)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy what it visits
    with socket.socket(fileno=number) as requests:
        while True:
            text, descriptors, *_ = socket.recv_fds(requests, MAX_REQUEST, 5)
            if not text:
                return 0
            *streams, last = descriptors[:4]
            answer = socket.socket(fileno=last)
            if os.fork() == 0:  # it answers and waits, so that programs may run side by side
                requests.close()
                if (program := os.fork()) == 0:
                    answer.close()
                    return _run(json.loads(text), streams, descriptors[4:])
                for descriptor in (*streams, *descriptors[4:]):
                    os.close(descriptor)
                answer.sendall(f"{program}\n".encode())
                answer.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])}\n".encode())
                os._exit(0)
            answer.close()
            for descriptor in (*streams, *descriptors[4:]):
                os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _run(request: dict[str, object], streams: Sequence[int], others: Sequence[int]) -> int | str | None:
    """Become the program that was asked for; return its exit code."""
    words, env, cwd = request["words"], request["env"], request["cwd"]
    assert isinstance(words, list)
    assert isinstance(env, dict)
    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    for descriptor in others:  # one: it overwrites no other that is still needed
        os.dup2(descriptor, int(str(request["inherits"])))
    inherited = {"", str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    path = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [str(cwd), *path, *(entry for entry in sys.path if entry not in inherited)]
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(cwd))
    _end_quickly()
    first, *others = words
    if first == "-c":
        sys.argv = ["-c", *others[1:]]
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0] = str(Path(first).absolute().parent)
        runpy.run_path(first, run_name="__main__")
    return 0


def _end_quickly() -> None:
    """Leave out the destructors of C libraries when Python has ended: torch's take 0.15 s, no test is of them."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # glibc has it
        libc.on_exit(libc._exit, None)
        atexit.register(libc.fflush, None)
