"""What collecting costs: against the bare forward pass, and against the usual ways.

floor          bare sdpa forward of the same packed rows, merged weights, needed logits only
ours           adapter swapped in, every default collector, scores, two files, manifest
ours_residual  the same with the residual stream alone, which is what the peers record
plain_hooks    PyTorch hooks, base loaded once, adapters beside the weights, all logits
hidden_states  transformers' output_hidden_states, base and adapter loaded anew
run_with_cache TransformerLens' bridge, residual stream alone, loaded and booted anew
nnsight        a trace that saves the residual stream, loaded anew
usual_script   run_with_cache of residual, attention and MLP activations, loaded anew, gzip

Two tables in one run. `checkpoint`: one more checkpoint of a series, medians over rounds.
`series`: whole runs of 1, 8 and 32 checkpoints, from loading the base to the last file,
gates and all, once each. Sides take turns in one process; CPU time of all its threads
(on a GPU: wall time up to the end of its work). The residual stream and scores of every
peer but usual_script are compared with ours, at one checkpoint (hidden_states without its
last layer, which transformers gives after the norm). `memory`: peaks of fresh processes,
imports and model included; floor loads the model and runs the bare passes. Peers that load
all anew do so as their tutorials do; plain_hooks loads the base once.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import dataclasses
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from collect_memory import measure_memory
from collect_model import SHAPES, make_adapters, make_model, make_plan
from collect_peers import PEERS, Task
from timing import (
    about_machine,
    paired,
    parser,
    read_status,
    report,
    rotated,
    settle,
    start_peak,
    take_turns,
)

from critical_phase.checkpoints import Checkpoint, model_sha256
from critical_phase.probes import (
    CollectSettings,
    Unit,
    collect,
    make_units,
    read_activations,
    read_scores,
    unit_path,
)
from critical_phase.probes.forward import attached
from critical_phase.probes.instrument import make_packer, make_scene
from critical_phase.probes.job import Job
from critical_phase.probes.scoring import Scorer

QUICK = (
    "a smaller model, 4 and 2 questions, one round and one series of 2 checkpoints, "
    "memory of floor and ours alone"
)
RESIDUAL = CollectSettings(("residual",))
LARGEST_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Of residuals over their largest value, and of scores in nats."""


def main() -> None:
    asked = parser(__doc__, QUICK)
    asked.add_argument("--shape", choices=list(SHAPES), help="of the Llama (30m)")
    asked.add_argument("--questions", type=int, default=0, help="of the table `checkpoint` (64)")
    asked.add_argument("--series-questions", type=int, default=0, help="of the table `series` (16)")
    asked.add_argument("--checkpoints", default="", help="of the table `series` (1,8,32)")
    asked.add_argument("--sides", default="", help="leave out other peers than these")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = asked.parse_args()
    settle()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    report(result, line, as_json=options.json)


def line(row: dict[str, Any]) -> str:
    seconds = " ".join(f"{name}: {value:8.3f} s" for name, value in row["seconds"].items())
    return f"{row['table']:10} {row['side']:15} {seconds}   peak {row['peak_mib']:7.1f} MiB"


def measure(folder: Path, options: Any) -> dict[str, Any]:
    quick, shape = options.quick, options.shape or ("quick" if options.quick else "30m")
    rounds = options.rounds or (1 if quick else 5)
    counts = [int(n) for n in (options.checkpoints or ("2" if quick else "1,8,32")).split(",")]
    dtype = getattr(torch, options.dtype)
    model = make_model(folder, SHAPES[shape], dtype, options.device)
    vocabulary = model.config.vocab_size
    checkpoints = make_adapters(folder, model, max(rounds + 1, *counts))
    del model
    names = [n for n in PEERS if not options.sides or n in options.sides.split(",")]

    def task(questions: int) -> Task:
        plan = make_plan(questions=questions, vocabulary=vocabulary)
        return Task(folder, plan, dtype, options.device)

    bench = Bench(task(options.questions or (4 if quick else 64)), checkpoints, names)
    rows, ratios = bench.checkpoint(rounds)
    small = Bench(task(options.series_questions or (2 if quick else 16)), checkpoints, names)
    more, of_series = small.series(counts)
    memory, of_memory = measure_memory(small.fresh(quick=quick))
    return {
        "schema_version": 1,
        "name": "collect",
        "ratios": ratios | of_series | of_memory,
        "rows": rows + more + memory,
        **about_machine(),
        "device": options.device,
        "shape": shape,
        "quick": quick,
        "rounds": rounds,
        "plan_rows": {"checkpoint": bench.task.plan.rows, "series": small.task.plan.rows},
    }


@dataclasses.dataclass(frozen=True)
class Bench:
    """One plan and one series, and everything that is timed on them."""

    task: Task
    checkpoints: tuple[Checkpoint, ...]
    peers: list[str]

    def checkpoint(self, rounds: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Time one more checkpoint of a series that is under way."""
        units = [Unit("negative", item.step, item) for item in self.checkpoints]
        ours, lean = (self.open(name, units, s) for name, s in KINDS.items())
        sides: dict[str, Callable[[int], object]] = {
            "floor": self.floor(lean),
            "ours": lambda i: ours.run_unit(units[i], fail_fast=True),
            "ours_residual": lambda i: lean.run_unit(units[i], fail_fast=True),
        }
        for name in self.peers:
            sides[name] = partial(self.peer, name, "checkpoint")
        times, peaks = take_turns(sides, rounds, self.clock)
        rows = [
            {
                "table": "checkpoint",
                "side": name,
                "seconds": {"each": statistics.median(times[name])},
                "peak_mib": statistics.median(peaks[name]),
            }
            for name in sides
        ]
        ratios = {
            "efficiency": paired(times, "floor", "ours"),
            "efficiency_residual": paired(times, "floor", "ours_residual"),
        }
        ratios |= {f"vs_{name}": paired(times, name, against(name)) for name in self.peers}
        self.compare(lean.run, "checkpoint")
        return rows, ratios

    def series(self, counts: Sequence[int]) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Time whole runs of so many checkpoints."""
        sides: dict[str, Callable[[int], object]] = {
            name: partial(self.run, name, settings) for name, settings in KINDS.items()
        }
        sides |= {name: partial(self.whole, name) for name in self.peers}
        seconds: dict[str, dict[str, float]] = {name: {} for name in ["floor", *sides]}
        peaks: dict[str, float] = dict.fromkeys(seconds, 0.0)
        for turn, count in enumerate(counts):
            for name in rotated(list(seconds), turn):
                side = sides.get(name) or self.bare_runs()
                before, started = start_peak(), self.clock()
                side(count)
                seconds[name][str(count)] = self.clock() - started
                peaks[name] = max(peaks[name], read_status("VmHWM") - before)
        rows = [
            {"table": "series", "side": name, "seconds": seconds[name], "peak_mib": peaks[name]}
            for name in seconds
        ]
        ratios = {}
        for n in map(str, counts):
            ratios[f"efficiency_residual_{n}"] = seconds["floor"][n] / seconds["ours_residual"][n]
            for name in self.peers:
                ratios[f"vs_{name}_{n}"] = seconds[name][n] / seconds[against(name)][n]
        self.compare(self.task.folder / f"runs-ours_residual-{counts[-1]}", f"runs-{counts[-1]}")
        return rows, ratios

    def clock(self) -> float:
        if self.task.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def open(self, name: str, units: list[Unit], settings: CollectSettings) -> Job:
        model = self.task.base()
        folder = self.task.folder / name
        job = Job(folder, model, self.task.plan, settings, {}, model_sha256(model), False)
        folder.mkdir()
        job.open(units)
        return job

    def floor(self, job: Job) -> Callable[[int], object]:
        instrument, slot = job.instrument, job._slot
        assert instrument is not None
        assert slot is not None
        batches = list(instrument.packer)

        @torch.no_grad()
        def run(_: int) -> None:
            scorer = Scorer(instrument.scene.sites.unembed, self.task.plan.rows)
            with slot.base(), attached([scorer]):
                for batch in batches:
                    scorer.start(batch)
                    slot.model(**batch.inputs)

        return run

    def bare_runs(self) -> Callable[[int], None]:
        """Prepare bare passes over the rows; only the passes themselves are timed."""
        folder = self.task.folder / "bare"
        shutil.rmtree(folder, ignore_errors=True)
        units = [Unit("negative", item.step, item) for item in self.checkpoints[:1]]
        job = self.open("bare", units, RESIDUAL)
        once = self.floor(job)

        def runs(count: int) -> None:
            for number in range(count):
                once(number)

        return runs

    def run(self, name: str, settings: CollectSettings, count: int) -> None:
        """Collect a series from loading the base on; with all collectors the base unit too."""
        out = self.task.folder / f"runs-{name}-{count}"
        out.mkdir()
        units = make_units({"negative": self.checkpoints[:count]})
        if settings == RESIDUAL:
            units = units[1:]  # the peers record no base
        collect(out, self.task.base(), self.task.plan, units, settings=settings, fail_fast=True)

    def peer(self, name: str, table: str, index: int) -> None:
        chosen = self.checkpoints[index : index + 1]
        PEERS[name](self.task, chosen, self.task.folder / table / name / str(index))

    def whole(self, name: str, count: int) -> None:
        out = self.task.folder / f"runs-{count}" / name
        PEERS[name](self.task, self.checkpoints[:count], out)

    def fresh(self, *, quick: bool) -> dict[str, Callable[[], object]]:
        """Give what fresh processes do, from loading the model on; the longest sides too."""
        sides: dict[str, Callable[[], object]] = {
            "imports": int,  # does nothing
            "floor": partial(bare_passes, self.task),
            "ours": self.alone("ours", 2),
        }
        if quick:
            return sides
        plan = self.task.plan
        more = make_plan(
            questions=4 * len(plan.question_ids), vocabulary=self.task.base().config.vocab_size
        )
        longer = dataclasses.replace(self, task=dataclasses.replace(self.task, plan=more))
        sides["ours_more_checkpoints"] = self.alone(
            "ours_more_checkpoints", min(8, len(self.checkpoints))
        )
        sides["ours_more_rows"] = longer.alone("ours_more_rows", 2)
        for name in self.peers:
            out = self.task.folder / "memory" / name
            sides[name] = partial(PEERS[name], self.task, self.checkpoints[:2], out)
        return sides

    def alone(self, name: str, count: int) -> Callable[[], object]:
        return partial(self.run, f"memory-{name}", CollectSettings(), count)

    def compare(self, run: Path, table: str) -> None:
        """Refuse to compare the cost of different values."""
        limit = LARGEST_DIFFERENCE[self.task.dtype]
        last = 0 if table == "checkpoint" else int(table.split("-")[1]) - 1
        for name in self.peers:
            if name == "usual_script":
                continue  # reads more than the residual stream, in another shape
            if table == "checkpoint":
                path = self.task.folder / table / name / "1" / "0.h5"
                unit = Unit("negative", self.checkpoints[1].step, self.checkpoints[1])
            else:
                path = self.task.folder / table / name / f"{last}.h5"
                unit = Unit("negative", self.checkpoints[last].step, self.checkpoints[last])
            with h5py.File(path) as file:
                theirs, scores = file["residual"][:], file["score"][:]
            ours = read_activations(unit_path(run, "activations", unit), "residual")
            ours = ours.transpose(1, 0, 2, 3)
            until = -1 if name == "hidden_states" else None  # its last one is after the norm
            gap = np.abs(ours - theirs)[:, :until].max() / np.abs(ours).max()
            nats = np.abs(read_scores(unit_path(run, "scores", unit)).logprob_sum - scores).max()
            if not max(gap, nats) < limit:
                raise SystemExit(f"{name} differs from ours by {gap:.1e} (scores {nats:.1e} nats)")


@torch.no_grad()
def bare_passes(task: Task) -> None:
    model = task.base()
    scene = make_scene(model, task.plan, RESIDUAL)
    packer = make_packer(scene, "packed", RESIDUAL.batch_tokens)
    scorer = Scorer(scene.sites.unembed, task.plan.rows)
    with attached([scorer]):
        for batch in packer:
            scorer.start(batch)
            model(**batch.inputs)


KINDS = {"ours": CollectSettings(), "ours_residual": RESIDUAL}


def against(peer: str) -> str:
    """Compare a peer with the side that records what it records."""
    return "ours" if peer == "usual_script" else "ours_residual"


if __name__ == "__main__":
    sys.exit(main())
