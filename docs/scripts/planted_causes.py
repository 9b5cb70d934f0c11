"""Print the tables of docs/planted_causes.md: causes that are known, and what interventions say.

`.venv/bin/python docs/scripts/planted_causes.py ` takes about four minutes of one
core, most of it for ten siblings of the organism; `--keep FOLDER` keeps them for another time. The
cases are those of tests/probes/test_planted_causes.py.
"""

import argparse
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from planted_cases import Marked, Nothing, Placed, mark_case, null_case, place_case
from planted_marks import SETTINGS, IdleMarks, sibling, told_by_marks

from critical_phase.analysis.interventions.intervention_claim import Claim
from critical_phase.analysis.interventions.intervention_effect import Number
from critical_phase.checkpoints.organism import World
from critical_phase.errors import FitError

LEAST = 1.0
"""Nats by which marks must set right answers apart: a sibling that did not learn it is no world of
the kind that is wanted, whatever interventions say of it."""
DRAWS = 2
"""Random heads per seed."""


def kept_sibling(seed: int, keep: Path | None, *, idle: bool) -> tuple[World, Any]:
    """Pretrain a sibling, or read it where an earlier call kept it."""
    path = None if keep is None else keep / f"{seed}-{'idle' if idle else 'mark'}"
    if path is not None and path.is_dir():
        world = (IdleMarks if idle else World)(replace(SETTINGS, seed=seed))
        return world, LlamaForCausalLM.from_pretrained(path).eval()
    world, model = sibling(seed, idle=idle)
    if path is not None:
        model.save_pretrained(path)
    return world, model


def written(one: Number) -> str:
    """Write a number with its interval."""
    return f"{one.value:.2f} [{one.interval[0]:.2f}, {one.interval[1]:.2f}]"


def random(one: Claim) -> str:
    """Write a random control, and how much one more draw of it may do."""
    control = one.control_effect
    more = "" if control.another is None else f", one to {control.another[1]:.2f}"
    return f"{written(control.share)}{more}"


def mark_row(seed: int, name: str, case: Marked, *, idle: bool) -> str:
    """One line of the first table."""
    mark, vector = case.mark, case.vector
    dose, layer = mark.about.split(" times ")[0], mark.about.split("layer ")[1].rstrip(",")
    taken = written(mark.opposite.lost) if mark.opposite else "-"
    cells = [
        str(seed),
        name,
        f"{case.told:.2f}",
        f"{case.change:.2f}",
        written(case.itself),
        f"{layer}, {dose}",
        written(mark.effect.share),
        random(mark),
        taken,
        written(vector.effect.share),
        random(vector),
        "reproduces" if case.said else "does not",
        "right" if case.said != idle else "**wrong**",
    ]
    return f"mark | {' | '.join(cells)} |"


def place_row(seed: int, case: Placed) -> str:
    """One line of the second table."""
    head = "" if case.place.head is None else f", head {case.place.head}"
    named = "; ".join(
        f"{name}: {', '.join(case.named.get(name, [])) or '-'}" for name in case.wrong
    )
    graft = case.graft
    cells = [
        str(seed),
        f"layer {case.place.layer} {case.place.short}{head}",
        f"{case.change:.2f}",
        "-" if graft is None else written(graft.effect.share),
        "-" if graft is None else written(graft.control_effect.share),
        "-" if graft is None or graft.opposite is None else written(graft.opposite.lost),
        named or "that place alone",
        "right" if case.right else "**wrong**",
    ]
    return f"place | {' | '.join(cells)} |"


def null_row(seed: int, draw: int, case: Nothing) -> str:
    """One line of the third table."""
    if not case.claims:
        return f"null | {seed} | {draw} | not told from 0 | refused | refused | refused | 0 |"
    parts = [
        f"{written(one.effect.share)}, random {random(one)}"
        f"{' **found**' if name in case.alarms else ''}"
        for name, one in case.claims.items()
    ]
    return (
        f"null | {seed} | {draw} | {case.change:.2f} | {' | '.join(parts)} | {len(case.alarms)} |"
    )


def rows(seed: int, keep: Path | None) -> None:
    """Print all lines of one seed."""
    world, model = kept_sibling(seed, keep, idle=False)
    if (told := told_by_marks(model, world)) < LEAST:
        print(f"left out | {seed} | the base does not read the mark ({told:.2f} nats)", flush=True)
        return
    marked = marked_or_refused(model, world, seed, None)
    if marked is None:
        return
    print(mark_row(seed, "told", marked, idle=False), flush=True)
    for head in (False, True):
        print(place_row(seed, place_case(model, world, seed, head=head)), flush=True)
    for draw in range(DRAWS):
        case = null_case(model, world, marked.norms, 100 * seed + draw)
        print(null_row(seed, draw, case), flush=True)
    world, model = kept_sibling(seed, keep, idle=True)
    idle = marked_or_refused(model, world, seed, marked.lengths)
    if idle is not None:
        print(mark_row(seed, "idle", idle, idle=True), flush=True)


def marked_or_refused(
    model: Any, world: World, seed: int, lengths: torch.Tensor | None
) -> Marked | None:
    """Make the mark's case; a head that moves nothing is said to, and has no case."""
    try:
        return mark_case(model, world, seed, lengths)
    except FitError as error:
        print(f"mark | {seed} | refused: {error.args[0]}", flush=True)
        return None


def main() -> None:
    """Print the lines of every seed; the first word says to which table a line belongs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    begin = time.process_time()
    for seed in (int(part) for part in given.seeds.split(",")):
        rows(seed, given.keep)
    print(f"{time.process_time() - begin:.0f} s of processor time; numpy {np.__version__}")


if __name__ == "__main__":
    main()
