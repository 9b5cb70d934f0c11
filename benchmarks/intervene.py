"""What a graft map costs: every module of 16 checkpoints in the early model, against bare passes.

ours    `Lab.measure` of the cells: weights merged, scores taken, kept and written
bare    forward passes of the same packed rows under sdpa, needed logits only, as many as cells

A map has a cell for each adapted module of each checkpoint. Where it has more cells than are asked
for, every n-th is taken, in the order of the map, so that both sides go on from cell to cell as the
whole map does; `swap_ms_per_cell` is measured over all of them. Both sides take turns in one
process; process CPU time (on a GPU: wall time up to the end of its work), medians over rounds.
Models: a random Llama (`--shape`), and the embedded organism with its own questions; adapters are
random, on all seven linear maps of a block.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from collect_model import SHAPES, make_adapters, make_model
from collect_model import make_plan as draw_plan
from timing import about_machine, paired, parser, report, settle, take_turns

from critical_phase.checkpoints import PROMPTS, load_model
from critical_phase.checkpoints.organism_set import organism_questions
from critical_phase.probes import Plan, make_plan
from critical_phase.probes.interventions import (
    Bench,
    Cell,
    CellsFile,
    Lab,
    Mixture,
    Sources,
    find_places,
    grafted,
    whole,
)

CHECKPOINTS = 16
EARLY, LATE = "negative@1", "negative@17"
QUICK = "a smaller Llama, fewer questions and cells, two rounds"


def main() -> None:
    asked = parser(__doc__, QUICK)
    asked.add_argument("--shape", choices=list(SHAPES), help="of the Llama (30m)")
    asked.add_argument("--questions", type=int, default=0, help="of the Llama (8)")
    asked.add_argument("--cells", type=int, default=0, help="of one round, at most (32)")
    asked.add_argument("--device", default="cpu")
    options = asked.parse_args()
    settle()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    report(result, line, as_json=options.json)


def line(row: dict[str, Any]) -> str:
    seconds = " ".join(f"{name} {1e3 * row[name]:8.1f} ms" for name in ("ours", "bare"))
    return (
        f"{row['model']:9} {seconds} per cell, swap alone {row['swap_ms_per_cell']:.2f} ms;"
        f" {row['cells']} of {row['cells_of_map']} cells, {row['questions']} questions"
    )


def measure(folder: Path, options: Any) -> dict[str, Any]:
    quick = options.quick
    rounds, most = options.rounds or (2 if quick else 5), options.cells or (12 if quick else 32)
    shape = options.shape or ("quick" if quick else "30m")
    count = options.questions or (4 if quick else 8)
    rows, ratios = [], {}
    for name, (model, plan) in make_models(folder, shape, count, options.device, quick).items():
        found = compare(folder / name, model, plan, rounds, most)
        rows.append({"model": name, **found})
        ratios[f"vs_bare_forwards_{name}"] = found["ratio"]
    return {
        "schema_version": 1,
        "name": "intervene",
        "ratios": {"vs_bare_forwards": max(ratios.values()), **ratios},
        "rows": rows,
        "shape": shape,
        "checkpoints": CHECKPOINTS,
        "device": options.device,
        **about_machine(),
        "quick": quick,
        "rounds": rounds,
    }


def make_models(
    folder: Path, shape: str, count: int, device: str, quick: bool
) -> dict[str, tuple[Any, Plan]]:
    llama = make_model(folder / "llama", SHAPES[shape], torch.float32, device)
    drawn = draw_plan(questions=count, vocabulary=llama.config.vocab_size)
    organism, tokenizer = load_model("organism", dtype=torch.float32, device=device)
    asked = organism_questions("test")[: 40 if quick else 300]
    return {
        "llama": (llama, drawn),
        "organism": (organism, make_plan(asked, tokenizer, PROMPTS["plain"])),
    }


def compare(folder: Path, model: Any, plan: Plan, rounds: int, most: int) -> dict[str, Any]:
    bench, lab, cells = set_up(folder, model, plan)
    step = max(1, -(-len(cells) // most))
    chosen, on_gpu = cells[::step], model.device.type == "cuda"
    clock = _on_device if on_gpu else time.process_time

    def ours(index: int) -> None:
        lab(f"round-{index}").measure(*chosen)

    def bare(index: int) -> None:
        for _ in chosen:
            bare_pass(bench)

    check(bench, chosen[0])
    times, _ = take_turns({"ours": ours, "bare": bare}, rounds, clock)
    each = {name: statistics.median(found) / len(chosen) for name, found in times.items()}
    return {
        **each,
        "ratio": paired(times, "ours", "bare"),
        "ratios_of_rounds": [x / y for x, y in zip(times["ours"], times["bare"], strict=True)],
        "swap_ms_per_cell": 1e3 * swap_alone(bench, cells, clock),
        "cells": len(chosen),
        "cells_of_map": len(cells),
        "questions": len(plan.prompts),
        "rows": plan.rows,
        "layout": bench.layouts["states"],
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def set_up(folder: Path, model: Any, plan: Plan) -> tuple[Bench, Callable[[str], Lab], list[Cell]]:
    """Put the model on a bench, and make the cells of the map as the plan `graft` does."""
    from peft import PeftModel  # noqa: F401  (loaded before anything is timed)

    copied = type(model)(model.config).to(model.device)  # PEFT puts its modules into the model
    copied.load_state_dict(model.state_dict())
    saved = make_adapters(folder, copied.eval(), CHECKPOINTS + 1)
    sources = Sources({f"negative@{one.step}": one for one in saved})
    modules = sources.modules(LATE)
    bench = Bench(Mixture(model, sources, modules), plan)
    places = find_places(modules, bench.sites)
    early = whole(EARLY, modules)
    cells = []
    for step in range(2, CHECKPOINTS + 2):
        donor = whole(f"negative@{step}", modules)
        for place in places:
            name = f"map/{step}/{place.layer}/{place.short}"
            cells.append(Cell(name, name, grafted(early, donor, [place])))

    def lab(name: str) -> Lab:
        kept = CellsFile(folder / f"{name}.npz", "key")
        mine = np.arange(len(plan.prompts)) % 2 == 0
        return Lab(bench, places, (EARLY, LATE), kept, lambda s: 0.0, options={}, exploratory=mine)

    return bench, lab, cells


@torch.no_grad()
def bare_pass(bench: Bench) -> list[torch.Tensor]:
    """Run the rows of the bench through the body, and the output map on slots that predict."""
    model, made = bench.model, []
    for batch in bench._instrument.packer:
        hidden = model.model(**batch.inputs)[0]
        line_, slot = batch.source
        made.append(model.lm_head(hidden[line_, slot]))
    return made


def check(bench: Bench, cell: Cell) -> None:
    """Refuse to time two different things: bare logits must give the cell's own scores."""
    scores = bench.score(cell.state)
    with bench.under(cell.state):
        logits = bare_pass(bench)
    found = np.zeros(bench.plan.rows)
    for batch, values in zip(bench._instrument.packer, logits, strict=True):
        local, source, token, _ = batch.targets
        taken = values.float().log_softmax(-1).cpu().double().numpy()[source, token]
        found[batch.rows] += np.bincount(local, taken, minlength=len(batch.rows))
    apart = float(np.abs(found - scores).max())
    if not apart < 1e-3:
        raise SystemExit(f"bare passes differ from the scores by {apart} nats: nothing to compare")


def swap_alone(bench: Bench, cells: list[Cell], clock: Callable[[], float]) -> float:
    """Return seconds per cell that go into merging weights, over the whole map."""
    started = clock()
    for cell in cells:
        bench.mixture.hold(cell.state)
    return (clock() - started) / len(cells)


def _on_device() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())
