"""Print what the places that one run named bring in other runs, beside other sets of equal size.

`probe intervene --also` asks whether each run's own answer is of the same layers. This asks the
same places, by module, of every run, at the ends that the run's own answer has:
`.venv/bin/python docs/scripts/interventions_same_places.py runs/seed0 runs/seed1 ...`. The places
are those of the first run's graft, so in all others they were chosen on nothing.
"""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from critical_phase.analysis.interventions.intervention_effect import Effect, effect
from critical_phase.cli.intervene_inputs import InterveneSettings, prepare, source
from critical_phase.cli.intervene_work import Table, set_up
from critical_phase.probes.interventions import find_places, grafted
from critical_phase.probes.interventions.update import Place

SETS = 20
"""Drawn sets of as many places."""


def own_answer(run: Path) -> dict[str, str]:
    """Read the run's graft: what it says, and between which ends."""
    for file in sorted((run / "interventions").glob("graft-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["plan"] == "graft":
            return {name: found[name] for name in ("about", "from", "to")}
    raise SystemExit(f"{run} has no graft: probe intervene {run}")


def named(about: str) -> set[tuple[int, str]]:
    """Read the places that an answer names, as pairs of block and module."""
    made = set()
    for numbers, modules in re.findall(r"layers? ([\d, -]+) \(([^)]*)\)", about):
        for part in numbers.split(","):
            low, _, high = part.strip().partition("-")
            for layer in range(int(low), int(high or low) + 1):
                made |= {(layer, one.strip()) for one in modules.split(",")}
    return made


def shown(one: Effect, *, lost: bool = False) -> str:
    """Write what comes, or what goes."""
    number = one.lost if lost else one.share
    return f"{number.value:.2f} [{number.interval[0]:.2f}, {number.interval[1]:.2f}]"


def measure(run: Path, wanted: set[tuple[int, str]]) -> str:
    """Put the places of one run into another, both ways, and drawn sets of as many."""
    ends = own_answer(run)
    ready = prepare(run, InterveneSettings(early=ends["from"], late=ends["to"]))
    table = set_up(ready, InterveneSettings())
    early, late = (table.states[source(end)] for end in (ready.ends.early, ready.ends.late))
    places = find_places(sorted(late), table.bench.sites)
    chosen = [place for place in places if (place.layer, place.short) in wanted]
    assert len(chosen) == len(wanted), "the runs adapt other modules"

    def effect_of(some: Iterable[Place], *, back: bool = False) -> Effect:
        state = grafted(late, early, some) if back else grafted(early, late, some)
        return effect(table.frame, table.bench.score(state)[None], table.frame.confirmatory)

    rng = np.random.default_rng(0)
    drawn = [
        effect_of([places[i] for i in rng.choice(len(places), len(chosen), replace=False)])
        for _ in range(SETS)
    ]
    cells = [
        run.name,
        f"{ends['from']} to {ends['to']}",
        shown(effect_of(chosen)),
        shown(effect_of(chosen, back=True), lost=True),
        _range([one.share.value for one in drawn]),
    ]
    close(table)
    return f"| {' | '.join(cells)} |"


def _range(values: list[float]) -> str:
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def close(table: Table) -> None:
    """Give the model back as it was."""
    table.bench.mixture.release()


def main() -> None:
    """Print one line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="the one that names the places first")
    given = parser.parse_args()
    about = own_answer(given.runs[0])["about"]
    print(f"{about} ({len(named(about))} places)\n")
    print(f"| run | ends | brings | takes away | {SETS} drawn sets of as many places |")
    print("|---|---|---|---|---|")
    for run in given.runs:
        print(measure(run, named(about)), flush=True)


if __name__ == "__main__":
    main()
