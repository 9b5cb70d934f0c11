"""Put a run on a bench and measure the cells of a plan."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from critical_phase.analysis.interventions.intervention_effect import effect, moved
from critical_phase.analysis.interventions.intervention_frame import SIGNS, Frame
from critical_phase.checkpoints import model_sha256
from critical_phase.cli.intervene_inputs import InterveneSettings, Ready, source
from critical_phase.probes.interventions import (
    PLANS,
    Bench,
    CellsFile,
    Lab,
    Mixture,
    Outcome,
    Sources,
    State,
    as_key,
    check_arrival,
    find_places,
    whole,
)

_FORMAT = 3
"""Of plans and their controls: raised where equal settings no longer give equal numbers, so that
what an earlier version made is not taken for what this one makes."""


@dataclass(frozen=True, eq=False)
class Table:
    """The model on its bench, and what the acting head says at both ends."""

    bench: Bench
    frame: Frame
    states: Mapping[str, State]
    base_sha256: str
    arrival: float
    """Largest difference of a logit from PEFT's own loading, as a share of the largest."""


def set_up(ready: Ready, settings: InterveneSettings) -> Table:
    """Put the model on a bench, prove that adapters arrive, and score both ends.

    Raises:
        CheckpointError: An adapter does not fit or does not arrive.
        FitError: The margin does not move between the ends.
    """
    base = model_sha256(ready.model)
    sources = Sources(ready.checkpoints)
    modules = sorted({m for name in ready.checkpoints for m in sources.modules(name)})
    mixture = Mixture(ready.model, sources, modules)
    states = {name: whole(name, sources.modules(name)) for name in ready.checkpoints}
    early, late = source(ready.ends.early), source(ready.ends.late)
    ids = _longest(ready)
    arrival = check_arrival(mixture, states[late], ready.checkpoints[late], ids)
    bench = Bench(mixture, ready.plan, batch_tokens=settings.batch_tokens)
    frame = Frame(
        ready.rows,
        ready.mode,
        ready.head,
        settings.weight,
        settings.normalisation,
        other_term(ready, bench, states),
        bench.score(states[early]),
        bench.score(states[late]),
        settings.draws,
        settings.seed,
    )
    moved(frame, frame.confirmatory)
    moved(frame, ~frame.confirmatory)
    return Table(bench, frame, states, base, arrival)


def run_plan(
    name: str,
    ready: Ready,
    table: Table,
    settings: InterveneSettings,
    options: Mapping[str, str],
    paths: tuple[Path, str],
    *,
    overwrite: bool,
    measured: Callable[[str], None],
) -> tuple[Lab, Outcome, CellsFile]:
    """Measure every cell of a plan; what was measured before is read.

    Args:
        name: Of `PLANS`.
        ready: The run.
        table: The model on its bench.
        settings: Of the command.
        options: Of the plan.
        paths: File of the cells while they are measured, and its key.
        overwrite: Forget what was measured in another way.
        measured: Called after every cell.
    """
    frame = table.frame
    cells = CellsFile(paths[0], paths[1], overwrite=overwrite)
    known = table.bench.mixture.sources
    # Heads may adapt other modules: all of both ends are places, or none together is the late end.
    both = {m for end in (ready.ends.early, ready.ends.late) for m in known.modules(source(end))}
    places = find_places(sorted(both), table.bench.sites)

    def judge(scores: Float[np.ndarray, " row"]) -> float:
        return effect(frame, scores[None], ~frame.confirmatory).share.value

    lab = Lab(
        table.bench,
        places,
        (source(ready.ends.early), source(ready.ends.late)),
        cells,
        judge,
        options=options,
        exploratory=~frame.confirmatory,
        donors=ready.donors,
        seed=settings.seed,
        measured=measured,
    )
    try:
        return lab, PLANS[name]().run(lab), cells
    finally:
        cells.flush()


def key_of(
    name: str, ready: Ready, settings: InterveneSettings, options: Mapping[str, str], base: str
) -> str:
    """Write everything that decides the numbers of a plan as one text."""
    hashes = {one: item.sha256 for one, item in ready.checkpoints.items()}
    return as_key(
        {
            **_direction(options),
            "format": _FORMAT,
            "plan": name,
            "options": dict(options),
            "from": source(ready.ends.early),
            "to": source(ready.ends.late),
            "donors": list(ready.donors),
            "checkpoints": hashes,
            "mode": ready.mode,
            "head": ready.head,
            "weight": settings.weight,
            "normalisation": settings.normalisation,
            "plan_sha256": ready.plan.sha256,
            "texts_sha256": "" if ready.texts is None else ready.texts.sha256,
            "second_sha256": "" if ready.second is None else ready.second.sha256,
            "base_sha256": base,
            "draws": settings.draws,
            "seed": settings.seed,
        }
    )


def _direction(options: Mapping[str, str]) -> dict[str, str]:
    """Note the content of a direction that is read from a file."""
    path = Path(options.get("direction", ""))
    if not path.is_file():
        return {}
    return {"direction_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def other_term(
    ready: Ready, bench: Bench, states: Mapping[str, State]
) -> Float[np.ndarray, " row"]:
    """Score the mode's other term at the late step; zeros where there is none."""
    rest = rest_of(ready)
    if not rest:
        return np.zeros(bench.plan.rows, dtype=np.float32)
    return bench.score({} if ready.other is None else states[source(ready.other)])


def rest_of(ready: Ready) -> str:
    """Name the mode's other term; empty where there is none."""
    return next((name for name in SIGNS[ready.mode] if name != ready.head), "")


def _longest(ready: Ready) -> torch.Tensor:
    row = int(ready.plan.key_length.argmax())
    tokens = ready.plan.prompts[int(ready.plan.question[row])] + ready.plan.answers[row]
    return torch.tensor([tokens], device=ready.model.device)
