"""Examples of each command, as they are typed: the end of its help. Tests parse every one."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "warm": (
        "tunedb warm softmax --arg rows=4096 --arg columns=1024",
        "tunedb warm --from shapes.jsonl --dry-run",
        "tunedb warm --from-misses",
    ),
    "run": (
        "tunedb run train.py --epochs 2",
        "tunedb run --report -m package.train",
        "tunedb run --only 'fla.*' -m torch.distributed.run --nproc-per-node 8 train.py",
    ),
    "precompile": (
        'tunedb precompile --device "NVIDIA H200" --into compiled',
        "tunedb precompile --from calls.jsonl --device h200 --into compiled",
        "tunedb precompile avg_pool1d --from problems.jsonl --device h200 --into compiled",
    ),
    "lookup": (
        "tunedb lookup softmax --arg columns=1024",
        "tunedb lookup softmax --arg columns=1024 --arg x.dtype=fp16 --device h100 --format json",
    ),
    "explain": ("tunedb explain softmax --arg columns=1024 --arg x.dtype=fp16",),
    "ls": (
        "tunedb ls --kernel softmax --where columns=1024,x.dtype=fp16",
        "tunedb ls --stale --sort age",
        "tunedb ls --status failed --format json",
    ),
    "show": ("tunedb show 3f2a91bc", "tunedb show 3f2a91bc -v"),
    "report": ("tunedb report -o report.html", "tunedb report softmax --format md"),
    "diff": ("tunedb diff old.db new.db", "tunedb diff triton=3.8.0 triton=3.9.0 --kernel softmax"),
    "mark": ('tunedb mark 3f2a91bc quarantine --reason "wrong on the last column"',),
    "verify": ("tunedb verify --kernel softmax --sample 20", "tunedb verify --stale --bundles --budget 600"),
    "misses": ("tunedb misses", "tunedb misses --fleet --device h100"),
    "stats": ("tunedb stats", "tunedb stats --by kernel,device --fleet"),
    "kernels": ("tunedb kernels",),
    "devices": ("tunedb devices",),
    "export": (
        "tunedb export -o tuned.jsonl",
        "tunedb export --device h100 --format bundle -o tuned.db",
        "tunedb export --kernel softmax --format python --cover 1.05 -o configs.py",
    ),
    "import": ("tunedb import tuned.jsonl", "tunedb import --as-hints configs --kernel fused_moe --dry-run"),
    "sync": ("tunedb sync --with postgresql://user@host/tunedb",),
    "gc": ("tunedb gc --dry-run",),
    "db current": ("tunedb db current",),
    "db check": ("tunedb db check",),
    "db upgrade": ("tunedb db upgrade",),
    "db backup": ("tunedb db backup before-upgrade.db",),
    "doctor": ("tunedb doctor",),
    "env": ("tunedb env", "tunedb env --format json"),
    "demo": ("tunedb demo",),
    "path": ("tunedb path", "tunedb path -v"),
}
