"""The usual ways to record a checkpoint series, each as its own documentation has it.

All write the residual stream of every layer at the two ends of each row, and the
log-probability of each candidate; one padded row per candidate, eight rows a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from critical_phase.checkpoints import Checkpoint
from critical_phase.probes import Plan

BATCH = 8


@dataclass(frozen=True)
class Task:
    """What is recorded, and where the parts lie."""

    folder: Path
    plan: Plan
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def base(self) -> Any:
        """Load the base from disk."""
        loaded: Any = AutoModelForCausalLM.from_pretrained(self.folder / "base", dtype=self.dtype)
        return loaded.to(self.device).eval()


@dataclass(frozen=True)
class Padded:
    """Eight rows, padded on the right."""

    ids: torch.Tensor
    mask: torch.Tensor
    ends: torch.Tensor
    rows: range


def batches(task: Task) -> Iterator[Padded]:
    plan = task.plan
    for start in range(0, plan.rows, BATCH):
        rows = range(start, min(start + BATCH, plan.rows))
        tokens = [plan.prompts[plan.question[row]] + plan.answers[row] for row in rows]
        width = max(map(len, tokens))
        ids = torch.tensor([[*t, *[0] * (width - len(t))] for t in tokens])
        mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in tokens])
        ends = torch.tensor([[plan.question_end[row], plan.answer_end[row]] for row in rows])
        yield Padded(*(x.to(task.device) for x in (ids, mask, ends)), rows)


def hooks(task: Task, checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """Plain PyTorch hooks: base loaded once, adapters beside the weights, all logits."""
    model = PeftModel.from_pretrained(task.base(), str(checkpoints[0].path), adapter_name="0")
    blocks = model.get_base_model().model.layers
    kept: dict[int, torch.Tensor] = {}

    def hook(layer: int) -> Callable[..., None]:
        def read(_: object, args: tuple[Any, ...], output: Any) -> None:
            kept[layer] = output[0] if isinstance(output, tuple) else output
            if layer == 0:
                kept[-1] = args[0]

        return read

    handles = [block.register_forward_hook(hook(i)) for i, block in enumerate(blocks)]
    for number, checkpoint in enumerate(checkpoints):
        if number:
            model.load_adapter(str(checkpoint.path), adapter_name=str(number))
            model.set_adapter(str(number))
            model.delete_adapter(str(number - 1))
        model.eval()

        def states(batch: Padded) -> tuple[torch.Tensor, list[torch.Tensor]]:
            logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits
            return logits, [kept[layer] for layer in sorted(kept)]

        record(task, states, out / f"{number}.h5", {})
    for handle in handles:
        handle.remove()


def hidden_states(task: Task, checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """transformers' output_hidden_states, base and adapter loaded anew; gzip."""
    for number, checkpoint in enumerate(checkpoints):
        model = PeftModel.from_pretrained(task.base(), str(checkpoint.path)).eval()

        def states(batch: Padded, model: Any = model) -> tuple[torch.Tensor, list[torch.Tensor]]:
            made = model(input_ids=batch.ids, attention_mask=batch.mask, output_hidden_states=True)
            return made.logits, list(made.hidden_states)

        record(task, states, out / f"{number}.h5", {"compression": "gzip"})


def run_with_cache(task: Task, checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """TransformerLens' run_with_cache on the residual stream, all loaded anew; gzip."""
    for number, checkpoint in enumerate(checkpoints):
        bridge = booted(task, checkpoint)

        def states(batch: Padded, bridge: Any = bridge) -> tuple[torch.Tensor, list[torch.Tensor]]:
            logits, cache = bridge.run_with_cache(
                batch.ids,
                attention_mask=batch.mask,
                names_filter=lambda n: n.endswith("resid_post") or n == "blocks.0.hook_resid_pre",
            )
            return logits, list(cache.values())

        record(task, states, out / f"{number}.h5", {"compression": "gzip"})


def nnsight(task: Task, checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """nnsight's trace on a PEFT model, base and adapter loaded anew."""
    import nnsight as library

    for number, checkpoint in enumerate(checkpoints):
        peft = PeftModel.from_pretrained(task.base(), str(checkpoint.path)).eval()
        model = library.NNsight(peft.get_base_model())

        def states(batch: Padded, model: Any = model) -> tuple[torch.Tensor, list[torch.Tensor]]:
            with model.trace(input_ids=batch.ids, attention_mask=batch.mask):
                found = library.save([])
                found.append(model.model.layers[0].input)
                for block in model.model.layers:
                    found.append(block.output)
                logits = model.lm_head.output.save()
            return logits, found

        record(task, states, out / f"{number}.h5", {})


@torch.no_grad()
def usual_script(task: Task, checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """run_with_cache of residuals, attention and MLP activations, all loaded anew; gzip."""
    wanted = ("blocks.0.hook_resid_pre", "hook_resid_post", "hook_pattern", "mlp.hook_post")
    longest = int(task.plan.key_length.max())
    for number, checkpoint in enumerate(checkpoints):
        bridge = booted(task, checkpoint)
        kept: dict[str, list[np.ndarray]] = {}
        for batch in batches(task):
            logits, cache = bridge.run_with_cache(
                batch.ids, attention_mask=batch.mask, names_filter=lambda n: n.endswith(wanted)
            )
            kept.setdefault("score", []).append(scores(task, logits, batch))
            lines = torch.arange(len(batch.rows), device=task.device)
            for name in cache:
                taken = (
                    cache[name][lines, :, batch.ends[:, 1]]
                    if name.endswith("pattern")
                    else cache[name][lines[:, None], batch.ends]
                )
                if name.endswith("pattern"):
                    taken = torch.nn.functional.pad(taken, (0, longest - taken.shape[-1]))
                kept.setdefault(name, []).append(taken.float().cpu().numpy())
        write(out / f"{number}.h5", kept, {"compression": "gzip", "chunks": True})


PEERS: dict[str, Callable[[Task, Sequence[Checkpoint], Path], None]] = {
    "plain_hooks": hooks,
    "hidden_states": hidden_states,
    "run_with_cache": run_with_cache,
    "nnsight": nnsight,
    "usual_script": usual_script,
}


def booted(task: Task, checkpoint: Checkpoint) -> Any:
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    model = PeftModel.from_pretrained(task.base(), str(checkpoint.path)).eval().get_base_model()
    return build_bridge_from_module(model, "LlamaForCausalLM", hf_config=model.config)


@torch.no_grad()
def record(
    task: Task,
    states: Callable[[Padded], tuple[torch.Tensor, list[torch.Tensor]]],
    path: Path,
    options: dict[str, Any],
) -> None:
    kept: dict[str, list[np.ndarray]] = {"residual": [], "score": []}
    for batch in batches(task):
        logits, found = states(batch)
        lines = torch.arange(len(batch.rows), device=task.device)[:, None]
        taken = torch.stack([x[lines, batch.ends] for x in found], dim=1)
        kept["residual"].append(taken.float().cpu().numpy())
        kept["score"].append(scores(task, logits, batch))
    write(path, kept, options)


def scores(task: Task, logits: torch.Tensor, batch: Padded) -> np.ndarray:
    logprobs = logits.float().log_softmax(-1)
    values = []
    for line, row in enumerate(batch.rows):
        answer = torch.tensor(task.plan.answers[row], device=task.device)
        start = int(batch.ends[line, 0])
        places = torch.arange(start, start + len(answer), device=task.device)
        values.append(float(logprobs[line, places, answer].sum()))
    return np.array(values)


def write(path: Path, kept: dict[str, list[np.ndarray]], options: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in kept.items():
            file.create_dataset(name, data=np.concatenate(values), **options)
