"""Programs that need torch, in forks of one process that has imported it: the import takes longer than most of them.

Neither tunedb nor Triton is imported there: a program imports them itself, with its own environment and path.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_REQUEST = 1_000_000  # bytes
SERVER = "import sys; from tests.forked import serve; sys.exit(serve(int(sys.argv[1])))"


def run(
    words: Sequence[object], *, env: Mapping[str, str] | None = None, cwd: Path | str = ".", timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words (`-c CODE`, `-m MODULE` or a file, and arguments), as subprocess.run does.

    The program ends as any other does, with its exit handlers and threads. It has the server's hash seed and options.
    """
    words = [str(word) for word in words]
    request = {"words": words, "env": dict(os.environ if env is None else env), "cwd": str(Path(cwd).absolute())}
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, ours, ours.makefile() as answers:
        with theirs:
            descriptors = [out.fileno(), err.fileno(), theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)
        ours.settimeout(timeout)
        pid = int(answers.readline())
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


@functools.cache
def _server() -> socket.socket:
    """Start the process that forks, once; it ends when this end of its socket closes."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(number)], cwd=ROOT, pass_fds=[number])
    atexit.register(process.wait)
    atexit.register(ours.close)  # before that
    return ours


def serve(number: int) -> int | str | None:
    """Fork once for each request; return the exit code of the program in its fork, and in the server at the end."""
    import alembic.command  # noqa: F401 - for the forks
    import rich.progress  # noqa: F401
    import sqlalchemy.dialects.sqlite  # noqa: F401
    import torch  # noqa: F401
    import typer  # noqa: F401

    is_ours = ("tunedb", "tests", "triton")
    assert not [name for name in sys.modules if name.split(".")[0] in is_ours and name not in ("tests", __name__)]
    with socket.socket(fileno=number) as requests:
        while True:
            text, descriptors, *_ = socket.recv_fds(requests, MAX_REQUEST, 3)
            if not text:
                return 0
            answer = socket.socket(fileno=descriptors.pop())
            if os.fork() == 0:  # it answers and waits, so that programs may run side by side
                requests.close()
                if (program := os.fork()) == 0:
                    answer.close()
                    return _run(json.loads(text), *descriptors)
                answer.sendall(f"{program}\n".encode())
                answer.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])}\n".encode())
                os._exit(0)
            answer.close()
            for descriptor in descriptors:
                os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _run(request: dict[str, object], out: int, err: int) -> int | str | None:
    """Become the program that was asked for; return its exit code."""
    words, env, cwd = request["words"], request["env"], request["cwd"]
    assert isinstance(words, list)
    assert isinstance(env, dict)
    for descriptor, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    inherited = {"", str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    path = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [str(cwd), *path, *(entry for entry in sys.path if entry not in inherited)]
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(cwd))
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
