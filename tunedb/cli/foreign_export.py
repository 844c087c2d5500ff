"""The exports in other tools' formats: folders of files, and covers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunedb._internal.counted import counted
from tunedb.cli.bundled import Exported
from tunedb.cli.command import log
from tunedb.cli.hint_import import pairs_of
from tunedb.cli.opening import reading
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.json_files import Layout, json_files
from tunedb.store.exchange.foreign.trial_files import cache_text, t4_text, trial_files
from tunedb.store.exchange.jsonl import opened_for_writing
from tunedb.store.exchange.python_source import latest_winners


def layout_of(
    name: str | None, rows: str | None, names: Sequence[str], *, folds_h200: bool, with_version: bool
) -> Layout:
    """Return the layout of json-configs. Raises SettingError if a part is missing."""
    if name is None or rows is None:
        raise SettingError(
            "--format json-configs needs --layout and --rows, such as "
            "--layout 'E={E},N={N},device_name={device},dtype={dtype}.json' --rows M"
        )
    return Layout(name, rows, pairs_of(names, "--map"), folds_h200, with_version)


def export_folder(folder: str, format: str, layout: Layout | None, source: Exported) -> None:
    """Write the winners of what is exported into a folder that is made if need be."""
    if folder == "-" or Path(folder).is_file():
        raise SettingError(
            f"--format {format} writes a folder, got {'stdout' if folder == '-' else folder}. Name a folder with -o."
        )
    with reading(announced=False) as store:
        winners = latest_winners(source.sweeps(store, with_trials=layout is None))
        if not winners:
            raise source.nothing_found(store)
    if layout is not None:
        texts, count = json_files(winners, layout)
    else:
        texts = trial_files(winners, t4_text if format == "t4" else cache_text)
        count = len(texts)
    try:
        for name, text in texts.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened_for_writing(path) as file:
                file.write(text)
    except OSError as error:
        raise SettingError(f"Can't write into {folder}: {error.strerror}. Name another folder with -o.") from None
    left = "" if count == len(winners) else f" Left out: {len(winners) - count}."
    log.info("%s written to %s in %s.%s", counted(count, "winner"), counted(len(texts), "file"), folder, left)


def covered(sweeps: Sequence[Sweep], limit: float) -> tuple[str, int]:
    """Return the source of a cover, and how many of the sweeps it stands for; the log says what it costs."""
    from tunedb.store.exchange.cover_source import cover_source

    winners = latest_winners(sweeps)
    text, cover = cover_source(winners, limit)
    if left := len(winners) - len(cover.losses):
        log.warning("Problems left out, because their sweeps came without the trials of all configs: %d.", left)
    log.info(
        "%s for %s: %.3f times each one's best on average, %.3f at most.",
        counted(len(cover.configs), "config"), counted(len(cover.losses), "problem"),
        cover.mean_loss, cover.worst_loss,
    )  # fmt: skip
    return text, len(cover.losses)
