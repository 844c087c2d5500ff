"""The whole command line with every command loaded, for tools that read it, such as the one of the reference page."""

from __future__ import annotations

from tunedb.cli.application import make_app

app = make_app()
