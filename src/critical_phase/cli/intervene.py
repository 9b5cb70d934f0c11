"""The work of `probe intervene`: change one thing between two models, and score again."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from critical_phase.atomic import write_json
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.intervene_inputs import InterveneSettings, Ready, prepare, source
from critical_phase.cli.intervene_points import hold_points
from critical_phase.cli.intervene_results import (
    answers,
    file_values,
    stored_gap,
    table_of,
    write_values,
)
from critical_phase.cli.intervene_rounding import rounded
from critical_phase.cli.intervene_work import Table, key_of, run_plan, set_up
from critical_phase.cli.run_folder import open_run, update_record
from critical_phase.cli.settings import command_line, resolve
from critical_phase.cli.stored_interventions import FOLDER
from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes.interventions import PLANS, Sources

SILENT = 15.0
"""Seconds after which a plan at work says how far it is."""


def intervene_run(
    path: Path, settings: InterveneSettings, *, command: str = "", overwrite: bool = False
) -> list[dict[str, Any]]:
    """Make every asked plan of interventions on a run.

    Args:
        path: Run folder with trained heads; analysed, unless both steps are given.
        settings: Plans, steps, mode, controls.
        command: The command line to note in the run.
        overwrite: Make again what was made in another way.

    Returns:
        What each written file holds, in order.

    Raises:
        ConfigError: No jump and no steps, an unknown plan or option.
        FitError: The margin does not move between the two steps.
        StoreError: Files made in another way are in the way.
    """
    options = plan_options(settings)
    ready = prepare(path, settings)
    for note in ready.notes:
        say(f"note: {note}")
    table = set_up(ready, settings)
    stored_gap(ready, table.frame)  # refused before hours of work, and noted in the files
    made: list[dict[str, Any]] = []
    try:
        with stop_on_interrupt() as stop:
            for name, chosen in options.items():
                made += _one(name, ready, table, settings, chosen, stop, overwrite=overwrite)
    finally:
        table.bench.mixture.release()
    update_record(ready.run, command)
    held = {_name(one): one for one in hold_points(path, settings.also)}
    return [held.get(_name(one), one) for one in made]


def points_run(path: Path, also: tuple[Path, ...], command: str = "") -> list[dict[str, Any]]:
    """Hold the stored answers of a run against other runs and training tests, without a model.

    Raises:
        ConfigError: The run has no answers yet, or other runs are of other designs.
    """
    made = hold_points(path, also)
    if not made:
        raise ConfigError(
            "the run has no intervention to hold against other runs",
            where=str(path / FOLDER),
            fix=f"probe intervene {path}",
        )
    update_record(open_run(path), command)
    return made


def plan_options(settings: InterveneSettings) -> dict[str, dict[str, str]]:
    """Sort `--with` values to the plans that know them.

    Raises:
        ConfigError: An unknown plan, or an option that no chosen plan has.
    """
    for name in settings.plan:
        if name not in PLANS:
            near = get_close_matches(name, PLANS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"no plan {name!r}", fix=f"{hint}choose from {', '.join(PLANS)}")
    chosen = {name: dict(PLANS[name].options) for name in dict.fromkeys(settings.plan)}
    for text in settings.options:
        key, equals, value = text.partition("=")
        having = [name for name in chosen if key.strip() in chosen[name]]
        if not equals or not having:
            known = sorted({one for options in chosen.values() for one in options})
            raise ConfigError(
                f"cannot use --with {text}",
                fix=f"write NAME=VALUE with a name of {', '.join(known)}",
            )
        for name in having:
            chosen[name][key.strip()] = value
    return chosen


def plan_lines(path: Path, settings: InterveneSettings) -> list[str]:
    """Describe what would be intervened in, without doing it."""
    options, ready = plan_options(settings), prepare(path, settings)
    early, late = source(ready.ends.early), source(ready.ends.late)
    lines = [
        f"between {early} and {late}: {ready.ends.why}",
        f"mode {ready.mode}, head {ready.head}, w {settings.weight:g}, {settings.normalisation}",
        f"questions: {len(ready.questions)}, {ready.plan.rows} rows; half of them choose",
        f"adapted modules: {len(Sources(ready.checkpoints).modules(late))}",
        f"donors of the map: {len(ready.donors)}",
    ]
    for name, chosen in options.items():
        there = (path / FOLDER / f"{_stem(name, ready)}.json").exists()
        with_ = " ".join(f"{key}={value}" for key, value in chosen.items())
        lines.append(f"{name}: {'there' if there else 'to be made'} ({with_})")
    return lines


def _one(
    name: str,
    ready: Ready,
    table: Table,
    settings: InterveneSettings,
    options: Mapping[str, str],
    stop: Callable[[], bool],
    *,
    overwrite: bool,
) -> list[dict[str, Any]]:
    """Make one plan, or read its files where they were made in the same way."""
    key = key_of(name, ready, settings, options, table.base_sha256)
    stem = _stem(name, ready)
    folder = ready.run.path / FOLDER
    there = list(_existing(folder, stem, key, overwrite=overwrite))
    # A command that was killed between two files left fewer than belong together.
    if there and len(there) == there[0].get("files") and not overwrite:
        say(f"{name}: existing, {len(there)} files")
        return there
    partial = folder / f"{stem}.cells.npz"
    begin = time.monotonic()
    done, said = 0, begin
    say(f"{name}: cells are kept one by one, so a stopped command goes on from there")

    def measured(cell: str) -> None:
        nonlocal done, said
        done += 1
        if time.monotonic() - said >= SILENT:
            said = time.monotonic()
            say(f"{name}: {done} cells in {said - begin:.0f} s")
        if stop():
            raise KeyboardInterrupt

    lab, outcome, cells = run_plan(
        name,
        ready,
        table,
        settings,
        options,
        (partial, key),
        overwrite=overwrite,
        measured=measured,
    )
    say(f"{name}: {len(lab.cells)} cells in {time.monotonic() - begin:.1f} s")
    made = _files(name, ready, table, (lab, outcome), settings, options, key)
    write_values(folder / f"{stem}.npz", table.frame, lab)
    for path in files_of(folder, stem):
        if path.name not in made:  # of other settings: it would be read beside these
            path.unlink()
    for file, values in made.items():
        write_json(folder / file, rounded(values))
    cells.remove()
    return list(made.values())


def _files(
    name: str,
    ready: Ready,
    table: Table,
    done: tuple[Any, Any],
    settings: InterveneSettings,
    options: Mapping[str, str],
    key: str,
) -> dict[str, dict[str, Any]]:
    """Return the content of every file: one per headline, the first with the table of cells."""
    lab, outcome = done
    stem = _stem(name, ready)
    found = answers(ready, table, lab, outcome, settings)
    common = file_values(name, ready, table, lab, outcome, options)
    common |= {"key": json.loads(key), "key_sha256": _hash(key), "values": f"{stem}.npz"}
    if not found:
        found = [{"plan": name, "for_verdicts": False, "share": None, "sentence": ""}]
    made = {}
    for number, one in enumerate(found):
        file = f"{stem}.json" if number == 0 else f"{stem}-{one['plan']}.json"
        cells = (
            {"cells": table_of(table.frame, lab)} if number == 0 else {"cells_in": f"{stem}.json"}
        )
        made[file] = common | one | cells | {"files": len(found)}
    return made


def _existing(folder: Path, stem: str, key: str, *, overwrite: bool) -> Iterator[dict[str, Any]]:
    """Read the finished files of a plan.

    Raises:
        StoreError: They were made in another way, and are not to be overwritten.
    """
    for path in files_of(folder, stem):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if overwrite:
                continue
            raise StoreError(
                f"cannot read an intervention: {error}", where=str(path), fix="give --overwrite"
            ) from error
        if found.get("key_sha256") == _hash(key):
            yield found
        elif not overwrite and found.get("key", {}).get("plan") == json.loads(key)["plan"]:
            old, new = found.get("key", {}), json.loads(key)
            odd = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
            raise StoreError(
                f"this intervention was made in another way ({', '.join(odd)} differ)",
                where=str(path),
                fix="repeat the earlier settings, or give --overwrite",
            )


def files_of(folder: Path, stem: str) -> list[Path]:
    """List the answers of a plan; `...-to-2*` alone would name those of `...-to-26` too."""
    return sorted({*folder.glob(f"{stem}.json"), *folder.glob(f"{stem}-*.json")})


def _stem(name: str, ready: Ready) -> str:
    early, late = ready.ends.early, ready.ends.late
    start = f"{early[1]}" if early[0] == late[0] else f"{early[0]}-{early[1]}"
    return f"{name}-{late[0]}-{start}-to-{late[1]}"


def _name(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(one.get(key) for key in ("intervention", "plan", "from", "to", "head"))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def intervene_command(
    path: Path,
    *,
    config: Path | None,
    overwrite: bool,
    dry_run: bool,
    listed: bool,
    as_json: bool,
    **given: object,
) -> None:
    """Do what the options of `probe intervene` ask for, and print the answers."""
    if listed:
        for name, kind in PLANS.items():
            result(f"{name}: {kind.about}")
            for key, value in kind.options.items():
                result(f"  --with {key}={value}")
        return
    values = {key: value for key, value in given.items() if value not in (None, ())}
    settings = resolve(InterveneSettings, "intervene", config, **values)
    if dry_run:
        for line in plan_lines(path, settings):
            result(line)
        return
    if settings.also and "plan" not in values:
        made = points_run(path, settings.also, command_line())
    else:
        made = intervene_run(path, settings, command=command_line(), overwrite=overwrite)
    if as_json:
        result_json([rounded(one) for one in made])
        return
    for one in made:
        result(one["sentence"] or f"{one['plan']}: measured; no single answer speaks for it")
        for pair in one.get("pairs", []) if "cells" in one else []:
            low, high = pair["interval"]
            if pair["shown"]:
                result(
                    f"{one['plan']}: {pair['share']:.2f} [{low:.2f}, {high:.2f}] {pair['about']}"
                )
    noted = (f"{one['intervention']}: {note}" for one in made for note in one["notes"])
    for note in dict.fromkeys(noted):
        result(note)
    result(f"files: {path / FOLDER}; next: probe analyze {path}")
