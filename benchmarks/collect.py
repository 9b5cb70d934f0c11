"""What collecting a checkpoint costs: against the bare forward pass and the usual script.

floor   bare sdpa forward of the same packed rows, merged weights, needed logits only
ours    a whole unit: adapter swapped in, all collectors, scores, two HDF5 files, manifest
usual   reload base and PEFT, boot TransformerLens' bridge, run_with_cache, gzip HDF5

All sides take turns in one process; process CPU time, medians over rounds.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import ctypes
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints import Checkpoint, list_series, model_sha256
from critical_phase.probes import CollectSettings, Plan, Unit
from critical_phase.probes.forward import attached
from critical_phase.probes.job import Job
from critical_phase.probes.scoring import Scorer

LARGE = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, vocab_size=8000)
QUICK = dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6, vocab_size=4000)
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller model, under 60 seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of all sides")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    transformers.utils.logging.disable_progress_bar()
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), quick=arguments.quick, rounds=rounds)
    if arguments.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print(f"{row['side']:16} {row['cpu_s']:8.3f} s CPU  {row['peak_mib']:8.1f} MiB")
    print({name: round(value, 3) for name, value in result["ratios"].items()})


def measure(folder: Path, *, quick: bool, rounds: int) -> dict[str, Any]:
    model = make_model(folder, QUICK if quick else LARGE)
    plan = make_plan(questions=20 if quick else 64, vocabulary=model.config.vocab_size)
    checkpoints = make_adapters(folder, model, rounds + 1)
    units = [Unit("negative", item.step, item) for item in checkpoints]
    jobs = {
        "ours": open_job(folder, "ours", plan, units, CollectSettings()),
        "ours_residual": open_job(folder, "lean", plan, units, CollectSettings(("residual",))),
    }
    sides: dict[str, Callable[[int], object]] = {
        "floor": floor_side(jobs["ours"], plan),
        "ours": lambda i: jobs["ours"].run_unit(units[i], fail_fast=True),
        "ours_residual": lambda i: jobs["ours_residual"].run_unit(units[i], fail_fast=True),
        "usual_script": lambda i: usual_script(folder, checkpoints[i], plan, i),
    }
    times, peaks = take_turns(sides, rounds)
    cpu = {name: statistics.median(values) for name, values in times.items()}
    peak = {name: statistics.median(values) for name, values in peaks.items()}

    def paired(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))

    ratios = {
        "efficiency": paired("floor", "ours"),
        "efficiency_residual": paired("floor", "ours_residual"),
        "vs_usual_script": paired("usual_script", "ours"),
        "peak_memory": peak["ours"] / peak["floor"],
        "peak_memory_vs_usual_script": peak["usual_script"] / peak["ours"],
    }
    rows = [{"side": name, "cpu_s": cpu[name], "peak_mib": peak[name]} for name in sides]
    return {
        "schema_version": 1,
        "name": "collect",
        "ratios": ratios,
        "rows": rows,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "threads": torch.get_num_threads(),
        "quick": quick,
        "rounds": rounds,
        "plan_rows": plan.rows,
        "seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }


def take_turns(
    sides: dict[str, Callable[[int], object]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            before = start_peak()
            started = time.process_time()
            sides[name](index)
            seconds = time.process_time() - started
            if index:  # the first round warms up
                times[name].append(seconds)
                peaks[name].append(read_status("VmHWM") - before)
    return times, peaks


def floor_side(job: Job, plan: Plan) -> Callable[[int], object]:
    instrument, slot = job.instrument, job._slot
    assert instrument is not None
    assert slot is not None
    batches = list(instrument.packer)

    @torch.no_grad()
    def run(_: int) -> None:
        scorer = Scorer(instrument.scene.sites.unembed, plan.rows)
        with slot.base(), attached([scorer]):
            for batch in batches:
                scorer.start(batch)
                slot.model(**batch.inputs)

    return run


@torch.no_grad()
def usual_script(folder: Path, checkpoint: Checkpoint, plan: Plan, index: int) -> None:
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    base = LlamaForCausalLM.from_pretrained(folder / "base").eval()
    model = PeftModel.from_pretrained(base, str(checkpoint.path)).eval().get_base_model()
    bridge = build_bridge_from_module(model, "LlamaForCausalLM", hf_config=model.config)
    wanted = ("hook_resid_pre", "hook_resid_post", "hook_pattern", "mlp.hook_post")
    kept: dict[str, list[np.ndarray]] = {}
    for start in range(0, plan.rows, 8):
        rows = range(start, min(start + 8, plan.rows))
        tokens = [plan.prompts[plan.question[row]] + plan.answers[row] for row in rows]
        width = max(map(len, tokens))
        ids = torch.tensor([[*t, *[0] * (width - len(t))] for t in tokens])
        mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in tokens])
        logits, cache = bridge.run_with_cache(
            ids, attention_mask=mask, names_filter=lambda name: name.endswith(wanted)
        )
        logprobs = logits.log_softmax(-1)
        for i, row in enumerate(rows):
            ends = [int(plan.question_end[row]), int(plan.answer_end[row])]
            answer = torch.tensor(plan.answers[row])
            places = torch.arange(ends[0], ends[1])
            kept.setdefault("score", []).append(logprobs[i, places, answer].sum().numpy())
            for name in cache:
                value = cache[name][i]
                taken = value[:, ends[1], :] if name.endswith("pattern") else value[ends]
                if name.endswith("pattern"):
                    taken = torch.nn.functional.pad(taken, (0, 256 - taken.shape[-1]))
                kept.setdefault(name, []).append(taken.numpy())
    with h5py.File(folder / f"usual-{index}.h5", "w") as file:
        for name, values in kept.items():
            stacked = np.stack(values)
            file.create_dataset(name, data=stacked, compression="gzip", chunks=True)


def open_job(
    folder: Path, name: str, plan: Plan, units: list[Unit], settings: CollectSettings
) -> Job:
    model = LlamaForCausalLM.from_pretrained(folder / "base").eval()
    job = Job(folder / name, model, plan, settings, {}, model_sha256(model), False)
    (folder / name).mkdir()
    job.open(units)
    return job


def make_model(folder: Path, shape: dict[str, int]) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape, num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=512
    )
    model = LlamaForCausalLM(config).eval()
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


def start_peak() -> float:
    """Give freed memory back, forget the last peak, and return what is in use, in MiB."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return read_status("VmRSS")


def read_status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    sys.exit(main())
