"""`probe control`: make a run whose heads are controls for those of another run."""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from critical_phase.atomic import write_json
from critical_phase.checkpoints.random_adapter import (
    RANDOM_ADAPTER,
    refuse_variants,
    write_random_series,
)
from critical_phase.checkpoints.series import Series
from critical_phase.cli.console import bar, result
from critical_phase.cli.run_folder import (
    RunFolder,
    elsewhere_of,
    open_run,
    read_record,
    update_record,
)
from critical_phase.cli.series_files import write_elsewhere
from critical_phase.cli.settings import command_line
from critical_phase.cli.share import share_file, share_folder
from critical_phase.differences import apart
from critical_phase.errors import ConfigError, InputError

WriteSeries = Callable[..., int]
CONTROLS: dict[str, WriteSeries] = {RANDOM_ADAPTER: write_random_series}
"""Kind of control -> how its checkpoints are made from a trained series."""
CLAIM = "control.json"
# What a new run makes itself, and what was found out about the run that is controlled.
_OWN = ("collect", "commands", "created_utc", "headline", "name", "schema_version", "versions")


def control_run(
    path: Path, out: Path, *, kind: str, heads: tuple[str, ...], seed: int, command: str = ""
) -> RunFolder:
    """Make a control of a trained run, or finish making it.

    Args:
        path: The run to control.
        out: The new run; heads that are not chosen are shared with the old one.
        kind: A name in `CONTROLS`.
        heads: Heads that become controls.
        seed: Seed of the control.
        command: The command line to note in the new run.

    Raises:
        ConfigError: No such kind or head, or `out` is something else.
        InputError: There is no run, or its adapters cannot be controlled.
        StoreError: The disk is full; what is made stays.
    """
    source, target = open_run(path), RunFolder(out)
    claim = _claim(source, kind, heads, seed)
    series = {head: source.series(head) for head in claim["heads"]}
    for trained in series.values():
        refuse_variants(trained)
    take_folder(target, source, claim)
    for head, trained in series.items():
        _control_head(target, head, trained, kind, seed)
    for head in source.trained_heads():
        if head not in series:
            share_folder(source.head(head), target.head(head))
    if elsewhere := {k: v for k, v in elsewhere_of(source).items() if k not in series}:
        write_elsewhere(target, elsewhere)
    share_folder(source.path / "questions", target.path / "questions")
    if source.config.is_file():
        share_file(source.config, target.config)
    _note(source, target, claim, series, command)
    return target


def take_folder(target: RunFolder, source: RunFolder, claim: Mapping[str, Any]) -> None:
    """Claim an empty folder for one control; a folder that is claimed alike is continued.

    Raises:
        ConfigError: The folder holds something else, or is the run that is controlled.
    """
    where, fix = str(target.path), "give --out a folder of its own"
    if target.path.resolve() == source.path.resolve():
        raise ConfigError("a run cannot be its own control", where=where, fix=fix)
    path = target.path / CLAIM
    if not path.is_file():
        if target.path.exists() and any(target.path.iterdir()):
            raise ConfigError("the folder holds something else", where=where, fix=fix)
        write_json(path, claim)
    found = _read_claim(path)
    if odd := sorted(key for key in claim if found.get(key) != claim[key]):
        there, asked = apart(found.get(odd[0]), claim[odd[0]])
        raise ConfigError(
            f"the folder holds another control: its {odd[0]} is {there}, asked for {asked}",
            where=where,
            fix=fix,
        )


def _claim(source: RunFolder, kind: str, heads: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Check what is asked for and write it down."""
    if kind not in CONTROLS:
        raise ConfigError(f"no kind of control {kind!r}", fix=f"choose from {', '.join(CONTROLS)}")
    trained = source.known_heads()
    if odd := sorted(set(heads) - set(trained)):
        near = get_close_matches(odd[0], trained, n=1)
        raise ConfigError(
            f"the run has no {odd[0]} head: it has {', '.join(trained) or 'none'}",
            where=str(source.path),
            fix=f"did you mean {near[0]!r}?" if near else "give --heads a head of this run",
        )
    if not heads or seed < 0:
        what = "no head is chosen" if not heads else f"the seed is {seed}"
        raise ConfigError(what, fix="give --heads negative and a --seed of 0 or more")
    record = read_record(source)
    return {
        "schema_version": 1,
        "kind": kind,
        "seed": seed,
        "heads": [head for head in trained if head in heads],
        "run": record["name"],
        "created_utc": record["created_utc"],
    }


def _control_head(target: RunFolder, head: str, trained: Series, kind: str, seed: int) -> None:
    with bar(f"control {head}", len(trained.checkpoints)) as progress:
        CONTROLS[kind](trained, target.head(head), seed=seed, progress=progress)


def _note(
    source: RunFolder,
    target: RunFolder,
    claim: Mapping[str, Any],
    series: Mapping[str, Series],
    command: str,
) -> None:
    """Write run.json: that of the run that is controlled, and what was changed."""
    record = {key: value for key, value in read_record(source).items() if key not in _OWN}
    if "series" in record:
        record["series"] = {k: v for k, v in record["series"].items() if k not in series}
    warnings = list(record.pop("warnings", []))
    warnings += [f"{head}: {text}" for head, one in series.items() for text in one.warnings]
    warnings += [
        f"the {head} head is a control: random adapters (seed {claim['seed']}) with the "
        f"norms, module by module, of the {head} head of the run {claim['run']}"
        for head in claim["heads"]
    ]
    control = {key: claim[key] for key in ("kind", "seed", "heads", "run")}
    update_record(
        target, command, **{**record, "kind": "control", "warnings": warnings, "control": control}
    )


def _read_claim(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path.name}: {error}", where=str(path)) from error
    return value if isinstance(value, dict) else {}


def control_command(*, path: Path, out: Path, kind: str, heads: str, seed: int) -> None:
    """Make a control of the trained run at PATH: a run that collect, analyze and report take.

    The chosen heads become random adapters that have moved as far as the trained ones at
    every step, in every module; the other head is shared.
    """
    chosen = tuple(part.strip() for part in heads.split(",") if part.strip())
    run = control_run(path, out, kind=kind, heads=chosen, seed=seed, command=command_line())
    result(f"control {kind} of {', '.join(chosen)}: {run.path}")
