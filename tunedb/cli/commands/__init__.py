"""The commands, one file each, named as they are typed, and what each does in a sentence.

A command's file is loaded when the command is asked for: loading all of them would take longer than most of them.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from importlib import import_module

from tunedb.cli.command import REGISTERED, Command

# In the order of `tunedb --help`, which shows these sentences. Each is the first one of the command's own help.
SUMMARIES = {
    "warm": "Tune ahead of calls: one problem, a file of problems, what calls missed, or what is stale or incomplete.",
    "run": "Run a Python program in which tunedb serves every kernel that `triton.autotune` decorates.",
    "precompile": "Compile kernels ahead into a folder, for a GPU that this machine need not have.",
    "lookup": "Print the stored config for a problem, without tuning.",
    "explain": "Explain why each stored sweep of a problem is used or not; the winner comes first.",
    "ls": "List the stored sweeps, finished or not, and those of bundles.",
    "show": "Show one sweep and the time of each of its configs, the winner first.",
    "report": "Write a report of the stored sweeps: what tuning gained, why each config won, which knob matters.",
    "diff": "Compare the winners of two stores, devices or environments, problem by problem.",
    "mark": "Pin or quarantine a sweep, or undo that, and print which sweep wins now.",
    "verify": "Re-check the stored winners for this GPU.",
    "misses": "List the problems that calls found nothing stored for, the most costly first.",
    "stats": "Print what the store holds, and how often it answered.",
    "kernels": "List the installed kernels and the stored ones, by the hash of their code.",
    "devices": "List the devices that have stored sweeps or counts, and the current one.",
    "export": "Write stored sweeps to a file.",
    "import": "Add tuned sweeps from a jsonl file or another store, or hints from files of other tools.",
    "sync": "Exchange tuned sweeps and marks with a shared store, in both directions.",
    "gc": "Remove obsolete sweeps, with their trials and marks, after asking.",
    "db current": "Print the schema's revision (none if there is no store), and the one that this version needs.",
    "db check": "Check that the store has the schema that this version needs.",
    "db upgrade": "Upgrade the store to the schema that this version needs.",
    "db backup": "Copy the store to a new file, while others use it.",
    "doctor": "Check the store, the shared store, the bundles and the settings, and say how to fix what is wrong.",
    "env": "Print the versions, devices and settings that a bug report needs.",
    "demo": "Tune a kernel for one problem, then let a second process look its config up.",
    "path": "Print where the store is.",
}


class _Commands(Mapping[str, Command]):
    """The commands by the words that they are typed with. One is loaded when it is taken out."""

    def __getitem__(self, name: str) -> Command:
        if name not in SUMMARIES:
            raise KeyError(name)
        if name not in REGISTERED:
            first = name.split()[0]
            import_module(f"{__name__}.{first}_" if keyword.iskeyword(first) else f"{__name__}.{first}")
        return REGISTERED[name]

    def __contains__(self, name: object) -> bool:
        return name in SUMMARIES

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)


COMMANDS: Mapping[str, Command] = _Commands()
