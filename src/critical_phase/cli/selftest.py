"""`probe selftest`: error rates of the whole analysis on worlds whose truth is known."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import click

from critical_phase.cli.console import bar, result, result_json

if TYPE_CHECKING:
    from critical_phase.analysis.planted.selftest import Outcome, WorldScore

CHUNK = 4
"""Draws that a process takes at a time."""


@click.command("selftest")
@click.option("--draws", type=click.IntRange(1), help="Draws of each world (200).")
@click.option("--world", "names", multiple=True, metavar="NAME", help="Only this world; repeat.")
@click.option("--quick", is_flag=True, help="A few draws of a few worlds: half a minute.")
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes (2).")
@click.option("--seed", type=click.IntRange(0), default=0, help="Start of all draws (0).")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("--list", "listed", is_flag=True, help="Say what is planted in each world.")
def command(
    *,
    draws: int | None,
    names: tuple[str, ...],
    quick: bool,
    jobs: int,
    seed: int,
    as_object: bool,
    listed: bool,
) -> None:
    """Run the analysis on worlds with a planted truth and print how often it is right.

    Nothing is read or written. A world of 200 draws takes about a minute on two cores.
    """
    from critical_phase.analysis.planted.planted_worlds import PLANTED_WORLDS  # these load much
    from critical_phase.analysis.planted.selftest import QUICK_DRAWS, QUICK_WORLDS, world_named
    from critical_phase.cli.selftest_table import as_json, lines

    chosen = names or (QUICK_WORLDS if quick else tuple(PLANTED_WORLDS))
    for name in chosen:
        world_named(name)
    if listed:
        for name in chosen:
            result(f"{name}: {PLANTED_WORLDS[name].planted}")
        return
    count = draws or (QUICK_DRAWS if quick else 200)
    scores = selftest(chosen, count, jobs=jobs, seed=seed)
    if as_object:
        result_json(as_json(scores))
        return
    for line in lines(scores):
        result(line)


def selftest(
    names: Sequence[str], draws: int, *, jobs: int = 2, seed: int = 0
) -> "tuple[WorldScore, ...]":
    """Analyse draws of worlds, in processes of one thread each.

    Args:
        names: Worlds, as in `PLANTED_WORLDS`.
        draws: Draws of each.
        jobs: Processes.
        seed: Start of all draws.

    Returns:
        One score per world, in the order asked for.

    Raises:
        ConfigError: No such world.
    """
    from critical_phase.analysis.planted.selftest import run_draw, score, world_named

    tasks = [(name, number, seed) for name in names for number in range(draws)]
    found: dict[str, list[Outcome]] = {world_named(name).name: [] for name in names}
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes when they load numpy
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        with bar("selftest", len(tasks)) as update:
            outcomes = pool.map(run_draw, *zip(*tasks, strict=True), chunksize=CHUNK)
            for done, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True), start=1):
                found[task[0]].append(outcome)
                update(done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(
            OMP_NUM_THREADS=before
        )
    return tuple(score(world_named(name), found[name]) for name in names)
