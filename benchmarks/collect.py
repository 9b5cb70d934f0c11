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
import multiprocessing
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
from collect_peers import PEERS, Task
from peft import LoraConfig, get_peft_model
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
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints import Checkpoint, list_series, model_sha256
from critical_phase.probes import (
    CollectSettings,
    Plan,
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

SHAPES: dict[str, dict[str, int]] = {
    "quick": dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6, vocab_size=4000),
    "30m": dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, vocab_size=8000),
    "7b": dict(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        vocab_size=32000,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RESIDUAL = CollectSettings(("residual",))
LARGEST_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Of residuals over their largest value, and of scores in nats."""


def main() -> None:
    asked = parser(__doc__)
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
    rounds = options.rounds or (2 if quick else 5)
    counts = [int(n) for n in (options.checkpoints or ("1,2" if quick else "1,8,32")).split(",")]
    dtype = getattr(torch, options.dtype)
    model = make_model(folder, SHAPES[shape], dtype, options.device)
    vocabulary = model.config.vocab_size
    checkpoints = make_adapters(folder, model, max(rounds + 1, *counts))
    del model
    names = [n for n in PEERS if not options.sides or n in options.sides.split(",")]

    def task(questions: int) -> Task:
        plan = make_plan(questions=questions, vocabulary=vocabulary)
        return Task(folder, plan, dtype, options.device)

    bench = Bench(task(options.questions or (8 if quick else 64)), checkpoints, names)
    rows, ratios = bench.checkpoint(rounds)
    small = Bench(task(options.series_questions or (3 if quick else 16)), checkpoints, names)
    more, of_series = small.series(counts)
    memory, of_memory = measure_memory(small, quick=quick)
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


def measure_memory(bench: Bench, *, quick: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Take the peak of a fresh process for each way, with more rows and more checkpoints too."""
    questions = 4 * len(bench.task.plan.question_ids)
    vocabulary = bench.task.base().config.vocab_size
    more = dataclasses.replace(
        bench.task, plan=make_plan(questions=questions, vocabulary=vocabulary)
    )
    asked = {"imports": (bench, 0), "floor": (bench, 1), "ours": (bench, 2)}
    if not quick:
        asked["ours_more_checkpoints"] = (bench, min(8, len(bench.checkpoints)))
        asked["ours_more_rows"] = (dataclasses.replace(bench, task=more), 2)
        asked |= {name: (bench, 2) for name in bench.peers}
    peaks = {name: peak_of(name, one, count) for name, (one, count) in asked.items()}
    rows = [
        {"table": "memory", "side": name, "seconds": {}, "peak_mib": value}
        for name, value in peaks.items()
    ]
    own = {name: value - peaks["imports"] for name, value in peaks.items()}
    ratios = {
        "peak_memory": peaks["ours"] / peaks["floor"],
        "peak_memory_without_imports": own["ours"] / own["floor"],
    }
    for name in ("more_checkpoints", "more_rows"):
        if not quick:
            ratios[f"peak_memory_{name}"] = peaks[f"ours_{name}"] / peaks["ours"]
    return rows, ratios


def peak_of(name: str, bench: Bench, count: int) -> float:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peak_worker, args=(name, bench, count, theirs))
    process.start()
    theirs.close()
    peak = float(ours.recv())
    process.join()
    return peak


def peak_worker(name: str, bench: Bench, count: int, link: Any) -> None:
    settle()
    if name == "floor":
        bare_passes(bench.task)
    elif name in PEERS:
        out = bench.task.folder / "memory" / name
        PEERS[name](bench.task, bench.checkpoints[:count], out)
    elif count:
        bench.run(f"memory-{name}", CollectSettings(), count)
    link.send(read_status("VmHWM"))


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


def make_model(
    folder: Path, shape: dict[str, int], dtype: torch.dtype, device: str
) -> LlamaForCausalLM:
    torch.manual_seed(0)
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4}
    config = LlamaConfig(**(heads | shape), max_position_embeddings=512, dtype=dtype)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(dtype).eval()
    model.save_pretrained(folder / "base")
    return model


def make_adapters(folder: Path, model: LlamaForCausalLM, count: int) -> tuple[Checkpoint, ...]:
    wrapper = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules=LINEARS))
    for step in range(1, count + 1):
        torch.manual_seed(step)
        for name, parameter in wrapper.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        wrapper.save_pretrained(str(folder / "heads" / f"checkpoint-{step}"))
    return list_series(folder / "heads").checkpoints


def make_plan(*, questions: int, vocabulary: int, candidates: int = 4) -> Plan:
    """Draw questions of 80 to 111 tokens with candidates of 12 to 19."""
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, vocabulary, rng.integers(low, high)).tolist())

    rows = questions * candidates
    return Plan(
        question_ids=tuple(f"q{i}" for i in range(questions)),
        groups=("",) * questions,
        question_texts=("",) * questions,
        prompts=tuple(text(80, 112) for _ in range(questions)),
        answers=tuple(text(12, 20) for _ in range(rows)),
        texts=tuple(str(row) for row in range(rows)),
        question=np.repeat(np.arange(questions), candidates),
        candidate=np.tile(np.arange(candidates), questions),
        correct=np.arange(rows) % candidates == 0,
        prompt_format="none",
    )


if __name__ == "__main__":
    sys.exit(main())
