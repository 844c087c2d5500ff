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
    "warm": "Tune a problem, each line of a file, the misses, or what is stale or incomplete, and store the results.",
    "run": "Run a Python program, with every kernel that `triton.autotune` decorates served by tunedb.",
    "precompile": "Compile kernels for a device, which this machine may lack, into a folder for later processes.",
    "lookup": "Print the stored config for a problem, without tuning.",
    "explain": "Explain why each stored sweep of a problem is used or not; the winner comes first.",
    "ls": "List the stored sweeps, with those of bundles, and with those that are running or were interrupted.",
    "show": "Show one sweep and its trials, the winner and then the fastest first, with bars as long as their times.",
    "report": "Write a report of the stored sweeps: what tuning bought, why each config won, which knob matters.",
    "diff": "List how the winners of two stores, devices or environments differ: problem by problem.",
    "mark": "Pin or quarantine a sweep, or undo that, and print which sweep wins now.",
    "verify": "Re-check the stored winners for this GPU.",
    "misses": "List the problems that calls asked for and no stored sweep answered, the most costly first.",
    "stats": "Print what the store holds, and how often it answered.",
    "kernels": "List the kernels that are installed, and those that are stored, by the hash of their code.",
    "devices": "List the devices that sweeps or counts are stored of, and the current one.",
    "export": "Write stored sweeps to a file.",
    "import": "Add tuned sweeps from a jsonl file, or from another store; or hints from files of other tools.",
    "sync": "Exchange sweeps with a shared store: each store gets the tuned sweeps, with trials, and the marks that it "
    "lacks.",
    "gc": "Remove obsolete sweeps, with their trials and marks, after asking.",
    "db current": "Print the schema's revision (none if there is no store), and the one that this version needs.",
    "db check": "Check that the store has the schema that this version needs.",
    "db upgrade": "Upgrade the store to the schema that this version needs.",
    "db backup": "Copy the store as it is at this moment to a new file, while others use it.",
    "doctor": "Look for faults of the store, the shared store, the bundles and the settings, and say how to fix them.",
    "env": "Print the versions, devices and settings that a bug report needs.",
    "demo": "Tune a kernel for one problem, then let a second process look it up.",
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
