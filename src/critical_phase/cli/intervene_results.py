"""Turn what a plan of interventions measured into the files of the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.interventions.intervention_claim import Asked, claim
from critical_phase.analysis.interventions.intervention_effect import number
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.analysis.interventions.intervention_table import (
    cell_rows,
    claim_values,
    pair_values,
    path_values,
)
from critical_phase.cli.intervene_aside import Aside
from critical_phase.cli.intervene_inputs import InterveneSettings, Ready, source
from critical_phase.cli.intervene_work import Table, rest_of
from critical_phase.errors import CheckpointError
from critical_phase.probes import read_plan, read_scores
from critical_phase.probes.interventions import Headline, Lab, Outcome, write_arrays

_FAR = 0.05
"""Nats by which scores may differ from those a collection stored, before something is wrong."""


def answers(
    ready: Ready, table: Table, lab: Lab, outcome: Outcome, settings: InterveneSettings
) -> list[dict[str, Any]]:
    """Turn the headlines of a plan into what their files hold, in order."""
    scores = {name: lab.scores(name) for name in lab.cells}
    aside = Aside(ready, table, settings)
    made = []
    for head in outcome.headlines:
        cell = lab.cells[head.cell]
        texts, beside = aside.of(cell, [lab.cells[n] for n in head.controls[:1]])
        found = claim_values(claim(table.frame, scores, asked_of(lab, head), beside))
        named = {"plan": head.plan, "for_verdicts": head.for_verdicts, "cell": head.cell}
        where = {
            "layers": list(head.layers),
            "modules": list(head.modules),
            "adapters": head.adapters,
        }
        made.append({**named, **where, **found, **texts})
    return made


def asked_of(lab: Lab, head: Headline) -> Asked:
    """Return which cells make up an answer, with the dose of each that has one."""
    doses = tuple((float(lab.cells[name].axes["dose"]), name) for name in head.doses)
    return Asked(
        head.about,
        head.cell,
        head.control,
        head.controls,
        head.lost,
        head.opposite,
        head.elsewhere,
        doses,
        head.peers,
        bool(head.modules),
    )


def file_values(
    name: str, ready: Ready, table: Table, lab: Lab, outcome: Outcome, options: Mapping[str, str]
) -> dict[str, Any]:
    """Return what every file of a plan says of how it was made."""
    frame = table.frame
    part = frame.confirmatory
    ends = np.stack([frame.pre, frame.post])
    margin, hits = frame.margins(ends)[:, part], frame.hits(ends)[:, part]
    weights = frame.weights(part)
    return {
        "schema_version": 1,
        "intervention": name,
        "options": dict(options),
        "head": ready.head,
        "mode": ready.mode,
        "weight": frame.weight,
        "normalisation": frame.normalisation,
        "other_term": "none" if not rest_of(ready) else _held(ready),
        "from": source(ready.ends.early),
        "to": source(ready.ends.late),
        "ends_chosen": ready.ends.why,
        "ends": {
            end: {
                "margin": number(margin[i], weights).value,
                "margin_interval": list(number(margin[i], weights).interval),
                "accuracy": _finite(hits[i].mean()),
            }
            for i, end in enumerate(("early", "late"))
        },
        "chosen_on": "questions with even numbers; effects are of those with odd numbers",
        "questions_exploratory": int((~part).sum()),
        "paths": _paths(frame, lab, outcome),
        "pairs": _pairs(frame, lab, outcome),
        "notes": [*ready.notes, *outcome.notes],
        "layouts": table.bench.layouts,
        "arrival": table.arrival,
        "stored_scores_gap": stored_gap(ready, frame),
        "compute_dtype": str(ready.model.dtype).removeprefix("torch."),
        "device": str(ready.model.device.type),
        "base_model": ready.record["model"],
        "run_id": ready.record.get("run_id") or ready.record["name"],
    }


def table_of(frame: Frame, lab: Lab) -> list[dict[str, Any]]:
    """Return a row for every cell."""
    cells = [(name, cell.about, cell.axes) for name, cell in lab.cells.items()]
    return cell_rows(frame, cells, np.stack([lab.scores(name) for name in lab.cells]))


def write_values(path: Path, frame: Frame, lab: Lab) -> None:
    """Write scores, margins and hits of every cell, per row and per question."""
    names = list(lab.cells)
    acting = np.stack([lab.scores(name) for name in names])
    write_arrays(
        path,
        {
            "cell": np.array(names),
            "question_id": np.array(frame.rows.question_ids),
            "confirmatory": frame.confirmatory,
            "logprob_sum": acting,
            "margin": frame.margins(acting),
            "hit": frame.hits(acting),
            "pre": frame.pre,
            "post": frame.post,
            "other": frame.other,
            "margin_pre": frame.ends[0],
            "margin_post": frame.ends[1],
        },
    )


def stored_gap(ready: Ready, frame: Frame) -> float | None:
    """Compare the late model's scores with those a collection stored; None where it did not.

    Raises:
        CheckpointError: They differ by more than computing can.
    """
    head, step = ready.ends.late
    path = ready.run.scores(head, step)
    if not path.is_file() or not ready.run.plan.is_file():
        return None
    stored = {name: i for i, name in enumerate(read_plan(ready.run.plan).question_ids)}
    if list(stored) != list(ready.plan.question_ids):
        return None
    there = read_scores(path).logprob_sum
    if there.shape != frame.post.shape:  # the same questions with other candidates
        return None
    gap = float(np.abs(there - frame.post).max())
    trained = ready.record["recipe"].get("dtype", "float32")
    if not gap <= _FAR and trained == "float32":  # NaN is no small gap
        raise CheckpointError(
            f"scores of {head} at step {step} differ from the stored ones by {gap:.3g} nats",
            where=str(path),
            fix="the model or the adapter changed since it was collected",
        )
    return gap


def _held(ready: Ready) -> str:
    return "base" if ready.other is None else source(ready.other)


def _paths(frame: Frame, lab: Lab, outcome: Outcome) -> dict[str, Any]:
    made = {}
    for name, cells in outcome.paths.items():
        doses = np.array([float(lab.cells[one].axes["dose"]) for one in cells])
        made[name] = path_values(frame, doses, np.stack([lab.scores(one) for one in cells]))
    return made


def _pairs(frame: Frame, lab: Lab, outcome: Outcome) -> list[dict[str, Any]]:
    if not outcome.pairs:
        return []
    named = [(one.name, one.about) for one in outcome.pairs]
    scores = np.stack([[lab.scores(p.late), lab.scores(p.early)] for p in outcome.pairs])
    made = pair_values(frame, named, scores)
    return [
        {**row, "late": one.late, "early": one.early, "shown": one.shown}
        for row, one in zip(made, outcome.pairs, strict=True)
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
