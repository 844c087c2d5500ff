"""Servers to fail: one between us and a database, which can be cut or fall silent, and one that refuses everyone."""

from __future__ import annotations

import abc
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

STARTUP = 2  # messages of a client, without a password: it asks for TLS, and says who it is


class _Listener(abc.ABC):
    """Hands each connection to a thread; closed at the end of the `with` block."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._socket: socket.socket | None = None
        self.port = 0
        self.up()

    def up(self) -> None:
        """Listen, after `cut` again on the port of before."""
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        self._socket = None
        while self._open:
            one = self._open.pop()
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def url(self, password: str = "hush") -> str:
        """The URL of the database behind it."""
        return f"postgresql+psycopg://postgres:{password}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._open.append(client)
                self._thread(self._serve, client)

    @staticmethod
    def _thread(work: Callable[..., None], *arguments: socket.socket) -> None:
        def quietly() -> None:
            with contextlib.suppress(OSError):
                work(*arguments)

        threading.Thread(target=quietly, daemon=True).start()

    @abc.abstractmethod
    def _serve(self, client: socket.socket) -> None:
        """What this listener does with a client."""


class Forwarder(_Listener):
    """Stands before a PostgreSQL server that listens in a folder. `connections` counts those that were made."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.connections = 0
        self.is_silent = False  # connections are made, and then nothing of them goes further
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        server = socket.socket(socket.AF_UNIX)
        self._open.append(server)
        server.connect(f"{self._folder}/.s.PGSQL.5432")
        self._thread(self._pump, server, client)
        self._pump(client, server)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        count = 0
        try:
            while content := source.recv(65536):
                count += 1
                if count <= STARTUP or not self.is_silent:
                    target.sendall(content)
        finally:
            target.shutdown(socket.SHUT_WR)  # also when the other side was killed


class Pooler(Forwarder):
    """Drops the options with which a connection starts, as a pooler does that is set to ignore them."""

    def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        length = struct.unpack("!I", client.recv(4))[0]
        startup = client.recv(length - 4)
        if startup == struct.pack("!I", 80877103):  # asks for TLS
            client.sendall(b"N")
            return self._serve(client)
        words = startup[4:].split(b"\0")
        pairs = [pair for pair in zip(words[::2], words[1::2], strict=False) if pair[0] not in (b"", b"options")]
        kept = startup[:4] + b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"
        server = socket.socket(socket.AF_UNIX)
        self._open.append(server)
        server.connect(f"{self._folder}/.s.PGSQL.5432")
        server.sendall(struct.pack("!I", 4 + len(kept)) + kept)
        self._thread(self._pump, server, client)
        return self._pump(client, server)


class Silent(_Listener):
    """Takes every connection, and says nothing."""

    def _serve(self, client: socket.socket) -> None:
        client.recv(1)


class Refusing(_Listener):
    """Asks for a password and refuses it, repeating it in the message, as no server should."""

    def _serve(self, client: socket.socket) -> None:
        length = struct.unpack("!I", client.recv(4))[0]
        startup = client.recv(length - 4)
        if startup == struct.pack("!I", 80877103):  # asks for TLS
            client.sendall(b"N")
            return self._serve(client)
        client.sendall(b"R" + struct.pack("!II", 8, 3))
        answer = client.recv(1024)
        password = answer[5:-1]
        fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for " + password + b"\0\0"
        client.sendall(b"E" + struct.pack("!I", 4 + len(fields)) + fields)
        return client.close()
