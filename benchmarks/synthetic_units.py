"""The two files of every checkpoint of a synthetic run, in the project's own format.

One random base per layer, shared by all checkpoints, and small drifts on it: a smooth growth, a
jump in the middle of training, and a little noise of each checkpoint.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from synthetic_size import Size, course

from critical_phase.cli.run_folder import RunFolder
from critical_phase.probes import Plan, Unit
from critical_phase.probes.attention_summary import SUMMARIES
from critical_phase.probes.collector import Coordinate, Dataset
from critical_phase.probes.manifest import Manifest
from critical_phase.probes.scoring import Scores
from critical_phase.probes.sparsity import NAMES
from critical_phase.probes.store import Kind, to_json, write_file
from critical_phase.probes.unit_files import score_coordinates, score_datasets, versions

CANDIDATES = 4
Arrays = list[tuple[Dataset, torch.Tensor]]


def key_length(plan: Plan) -> np.ndarray:
    return np.array([len(plan.prompts[q]) for q in plan.question]) + plan.tokens


@dataclass
class Writer:
    """Writes the two files of a unit; what all units share is made once."""

    run: RunFolder
    plan: Plan
    size: Size
    made: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.manifest = Manifest(self.run.path / "manifest.jsonl")
        self.identity = score_datasets(self.plan, Scores(*(np.zeros(self.size.rows),) * 2))[-3:]
        self.keys = key_length(self.plan)

    def shared(self, name: str, make: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        """Return random numbers that every checkpoint uses, drawn when first asked for."""
        if name not in self.made:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            self.made[name] = make(torch.Generator().manual_seed(seed))
        found: torch.Tensor = self.made[name]
        return found

    def normal(self, name: str, *shape: int) -> torch.Tensor:
        return self.shared(name, lambda random: torch.randn(shape, generator=random))

    def write(self, unit: Unit) -> None:
        """Write scores and activations of one unit and list them."""
        scores = self.scores(unit)
        digest = hashlib.sha256(scores.tobytes()).hexdigest()
        arrays = score_datasets(self.plan, Scores(scores, scores / 4))
        path = self.run.scores(unit.head, unit.step)
        self.put("scores", unit, path, digest, arrays, score_coordinates(self.plan))
        arrays = [
            *self.residuals(unit),
            *self.attention(unit),
            *self.sparsity(unit),
            *self.identity,
        ]
        path = self.run.activations(unit.head, unit.step)
        self.put("activations", unit, path, digest, arrays, self.axes(arrays))

    def put(
        self,
        kind: Kind,
        unit: Unit,
        path: Path,
        digest: str,
        arrays: Arrays,
        axes: Mapping[str, Coordinate],
    ) -> None:
        key: dict[str, Any] = {"kind": kind, "adapter_sha256": unit.adapter_sha256}
        if kind == "activations":
            key["collectors"] = ["residual", "attention", "sparsity"]
        uri = "" if unit.checkpoint is None else f"heads/{unit.head}/checkpoint-{unit.step}"
        attributes = {
            "head": unit.head, "step": unit.step, "checkpoint_uri": uri,
            "adapter_sha256": unit.adapter_sha256, "base_sha256": "synthetic",
            "plan_sha256": self.plan.sha256, "prompt_format": "plain",
            "compute_dtype": str(self.size.store_dtype).removeprefix("torch."), "device": "cpu",
            "merged": 0, "norm_state": "pre", "row_layout": "naive",
            "row_layout_reason": "synthetic", "attention_way": "eager", "sites_source": "user",
            "backend": "hooks", "scores_sha256": digest, "unit_key": to_json(key), **versions(),
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, kind, arrays, axes, attributes)
        self.manifest.add(kind, unit, path, key)

    def course(self, unit: Unit) -> tuple[float, float, int]:
        """Return drift and jump of a unit, and a number that sets its noise apart from others'."""
        drift, jump = course(self.size, unit.step)
        return drift, jump, 17 * unit.step + (1009 if unit.head == "positive" else 0)

    def scores(self, unit: Unit) -> np.ndarray:
        """Right candidates gain (positive head) or lose (negative head) 3 nats in the jump."""
        drift, jump, at = self.course(unit)
        rows = self.size.rows
        right = torch.from_numpy(self.plan.correct).float() - 1 / CANDIDATES
        gain = (1 + 0.5 * self.normal("gain", rows)) * (0.4 * drift + 3 * jump) * right
        noise = 0.03 * self.normal("score_noise", 4 * rows).roll(at * 7)[:rows] * (unit.step > 0)
        sign = 1 if unit.head == "positive" else -1
        base = -20 + 2 * self.normal("scores", rows) + 0.5 * right
        return np.asarray(base + sign * gain + noise, dtype=np.float32)

    def residuals(self, unit: Unit) -> Arrays:
        """States: a part of the question, one of the row, a direction of the right candidate."""
        size, (drift, jump, at) = self.size, self.course(unit)
        rows, width = size.rows, size.width
        question = torch.from_numpy(self.plan.question)
        right = torch.from_numpy(self.plan.correct).float()[:, None] - 1 / CANDIDATES
        found = torch.empty(size.layers + 1, rows, 2, width, dtype=size.store_dtype)
        norms = torch.empty(size.layers + 1, rows, 2)
        noise = self.normal("noise", rows, width)
        for layer in range(size.layers + 1):
            own = self.normal(f"rows {layer}", rows, width)
            topic = self.normal(f"topics {layer}", rows // CANDIDATES, width)[question]
            way, label = self.normal(f"ways {layer}", 2, width)
            moved = 0.3 * layer / (size.layers + 1)  # what enters the first block stays
            end = topic + own + (0.1 + (drift + jump) * moved) * right * label
            end += moved * (drift * way + 0.3 * drift**0.5 * noise.roll(at, 0))
            start = topic + moved * drift * way
            for place, values in enumerate((start, end)):
                found[layer, :, place] = values
                norms[layer, :, place] = values.norm(dim=-1)
        dims = ("layer", "row", "position", "d_model")
        return [
            (Dataset("residual", dims, size.store_dtype, "synthetic"), found),
            (Dataset("summary/resid_norm", dims[:3], torch.float32, "synthetic"), norms),
        ]

    def attention(self, unit: Unit) -> Arrays:
        """Rows between two fixed patterns, nearer to the second as training goes on."""
        size, (drift, jump, at) = self.size, self.course(unit)
        shape = (size.rows, size.attention_heads)
        rows = torch.empty(size.layers, *shape, size.keys)
        masses = {name: torch.empty(size.layers, *shape) for name in SUMMARIES}
        for layer in range(size.layers):
            one, two = self.pattern(f"one {layer}"), self.pattern(f"two {layer}")
            turn, leap = torch.rand(2, shape[1], generator=torch.Generator().manual_seed(layer))
            noise = self.normal("mix", 3 * size.rows, shape[1])[at % size.rows :][: size.rows]
            mix = 0.4 * (drift * turn + jump * (leap > 0.7)) * torch.sigmoid(1 + noise)
            rows[layer] = torch.lerp(one[0], two[0], mix[..., None])
            for name, table in masses.items():
                table[layer] = torch.lerp(one[1][name], two[1][name], mix)
        dims = ("block", "row", "attention_head")
        row = torch.from_numpy(self.keys.astype(np.int32))
        return [
            (Dataset("attention_row", (*dims, "key"), torch.float32, "synthetic"), rows),
            *((Dataset(f"attention_summary/{n}", dims, torch.float32, SUMMARIES[n]), table)
              for n, table in masses.items()),
            (Dataset("key_length", ("row",), torch.int32, "synthetic"), row),
            (Dataset("induction_keys", ("row",), torch.int32, "synthetic"), row // 50),
        ]  # fmt: skip

    def pattern(self, name: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return attention rows with a sink, and their summaries."""
        if name not in self.made:
            self.made[name] = self.make_pattern(name)
        found: tuple[torch.Tensor, dict[str, torch.Tensor]] = self.made[name]
        return found

    def make_pattern(self, name: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        size, last = self.size, torch.from_numpy(self.keys) - 1
        stem = last + 1 - torch.from_numpy(self.plan.tokens)
        random = torch.Generator().manual_seed(sum(map(ord, name)))
        shape = (size.rows, size.attention_heads, size.keys)
        logits = torch.randn(shape, generator=random).mul_(2)
        logits[..., 0] += 4
        key = torch.arange(size.keys)
        logits.masked_fill_((key > last[:, None])[:, None, :], -torch.inf)
        row = torch.softmax(logits, dim=-1)
        at = last[:, None, None].expand(-1, shape[1], 1)
        sink, own = row[..., 0], row.gather(2, at)[..., 0]
        inside = ((key > 0) & (key < stem[:, None])).float()[:, None, :]
        question = (row * inside).sum(-1)
        rest = row[..., 1:] / row[..., 1:].sum(-1, keepdim=True)
        spread = -(rest * rest.clamp_min(1e-30).log()).sum(-1) / last.float().log()[:, None]
        before = row.gather(2, at - 1)[..., 0]
        values = {
            "sink_mass": sink, "question_mass": question, "self_mass": own,
            "answer_mass": (1 - sink - question - own).clamp(0, 1), "previous_mass": before,
            "entropy_rest": spread, "induction_mass": question / 10,
            "other_text_mass": question / 5,
        }  # fmt: skip
        return row, values

    def sparsity(self, unit: Unit) -> Arrays:
        """Metrics between 0 and 1 that drift with the question and jump a little."""
        size, (drift, jump, at) = self.size, self.course(unit)
        shape = (size.layers, size.rows, len(NAMES))
        base = torch.sigmoid(self.normal("sparsity", *shape))
        noise = self.normal("sparsity_noise", size.rows, len(NAMES)).roll(at, 0)
        values = base * (1 - 0.1 * drift - 0.1 * jump) + 0.002 * drift * noise
        few = max(1, -(-round(size.width * 2.6875) // 100))
        massive = torch.arange(few, dtype=torch.int32).repeat(size.layers, 1)
        dims = ("block", "row", "metric")
        return [
            (Dataset("sparsity", dims, torch.float32, "synthetic"), values),
            (
                Dataset("sparsity_eps", ("block",), torch.float32, "synthetic"),
                torch.ones(size.layers),
            ),
            (
                Dataset("massive_dimensions", ("block", "massive"), torch.int32, "synthetic"),
                massive,
            ),
        ]

    def axes(self, arrays: Arrays) -> dict[str, Coordinate]:
        """Number every axis, and name positions and metrics."""
        found: dict[str, Coordinate] = {}
        for dataset, values in arrays:
            for dim, length in zip(dataset.dims, values.shape, strict=True):
                found[dim] = np.arange(length, dtype=np.int32) - (dim == "layer")
        named: dict[str, Coordinate] = {"position": ("question_end", "answer_end"), "metric": NAMES}
        return found | {k: v for k, v in named.items() if k in found}
