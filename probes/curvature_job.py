"""Fisher trace and sharpness of the checkpoints of a run: one file per checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from critical_phase.checkpoints import Example, model_sha256
from critical_phase.errors import ConfigError
from critical_phase.probes.adam_scaling import adam_scaling
from critical_phase.probes.curvature_files import curvature_path, fisher_json, top_json
from critical_phase.probes.effect_files import DrawnExamples, right_rows
from critical_phase.probes.fisher_trace import draw_uniforms, squared_norms
from critical_phase.probes.held_adapter import held_adapter, put_random_twin
from critical_phase.probes.keyed_files import stored, write
from critical_phase.probes.lanczos import TopEigenvalue
from critical_phase.probes.plan import Plan
from critical_phase.probes.sharpness import HessianProducts, Search, sharpness
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.units import Unit
from critical_phase.probes.walk import Walked, walk

Job = tuple[Unit, bool]
"""A checkpoint, or (True) its random twin."""


@dataclass(frozen=True, slots=True)
class CurvatureSettings:
    """What decides the numbers, beside checkpoints, questions and examples."""

    draws: int = 4
    """Answers drawn from the model for every question."""
    samples: int = 4
    """Parts of the examples of a head whose Hessians are taken apart; 0 leaves sharpness out."""
    search: Search = field(default_factory=Search)
    batch: int = 64
    """Questions of one pass."""
    seed: int = 0


class _Curvature:
    """One model and what is measured at each of its checkpoints."""

    def __init__(
        self,
        run: Path,
        slot: ModelSlot,
        plan: Plan,
        examples: Mapping[str, DrawnExamples],
        settings: CurvatureSettings,
        base_sha256: str,
    ) -> None:
        self._run, self._slot, self._examples, self._settings = run, slot, examples, settings
        right = right_rows(plan)
        rows = zip(right.question_ids, right.texts, right.prompts, right.answers, strict=True)
        self._questions = [Example(*row) for row in rows]
        self._uniforms = draw_uniforms(self._questions, settings.draws, settings.seed)
        search = asdict(settings.search)
        self._key: dict[str, Any] = {
            "kind": "curvature",
            "draws": settings.draws,
            "samples": settings.samples,
            "products": search["most"],
            "tolerance": search["tolerance"],
            "seed": settings.seed,
            "plan_sha256": plan.sha256,
            "base_sha256": base_sha256,
            "compute_dtype": str(slot.model.dtype).removeprefix("torch."),
        }

    def measure(self, job: Job, *, overwrite: bool) -> bool:
        """Measure one checkpoint, or its random twin; False where the file is there already."""
        unit, control = job
        path = curvature_path(self._run, unit.head, unit.step, control=control)
        drawn = self._examples.get(unit.head)
        key = self._key | {
            "examples_sha256": "" if drawn is None else drawn.sha256,
            "adapter_sha256": unit.adapter_sha256,
        }
        if stored(path, key, overwrite=overwrite) is not None:
            return False
        with held_adapter(self._slot, unit, "gradients and curvature are taken") as live:
            if control:
                put_random_twin(unit, live, seed=self._settings.seed)
            norms = squared_norms(
                self._slot.model, self._questions, self._uniforms, self._settings.batch
            )
            content = {
                "step": unit.step,
                "head": unit.head,
                "control": "random_adapter" if control else None,
                "questions": [item.question_id for item in self._questions],
                **fisher_json(norms),
                **self._sharpness(unit, live, drawn, control=control),
            }
        write(path, key, **content)
        return True

    def _sharpness(
        self,
        unit: Unit,
        live: Mapping[str, Tensor],
        drawn: DrawnExamples | None,
        *,
        control: bool,
    ) -> dict[str, Any]:
        """Find the largest eigenvalues over every sample of examples."""
        if drawn is None:
            return {"sharpness": None, "preconditioned": None}
        assert unit.checkpoint is not None
        scaling = None if control else adam_scaling(unit.checkpoint, live)
        plain: list[TopEigenvalue] = []
        scaled: list[TopEigenvalue] = []
        for place in range(self._settings.samples):
            chosen = drawn.examples[place :: self._settings.samples]
            products = HessianProducts(self._slot.model, live, chosen, self._settings.search.batch)
            plain.append(sharpness(products, self._generator(place), self._settings.search))
            if scaling is not None:
                scaled.append(
                    sharpness(products, self._generator(place), self._settings.search, scaling)
                )
        return {
            "sharpness": top_json(plain),
            "preconditioned": None if scaling is None else top_json(scaled),
        }

    def _generator(self, place: int) -> torch.Generator:
        """Return the source of a search's first vector: the same at every checkpoint."""
        return torch.Generator().manual_seed(self._settings.seed * 1_000_003 + place)


def curvature(
    run: Path,
    model: Any,
    units: Sequence[Unit],
    plan: Plan,
    examples: Mapping[str, DrawnExamples],
    settings: CurvatureSettings,
    *,
    references: Sequence[Unit],
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Walked[Job]:
    """Measure every checkpoint that has no finished file yet.

    Args:
        run: Run folder; `curvature/<head>/` goes into it.
        model: The base model in evaluation mode. Adapters are put into it in place.
        units: Checkpoints, in order.
        plan: Questions whose right answers give the contexts.
        examples: Training examples by head for the Hessian, in an order that is random; every
            sample takes an equal share. Heads without any get no sharpness.
        settings: How is measured.
        references: Checkpoints whose random twins are the controls.
        overwrite: Measure again what was measured in another way.
        progress: Called with the number of jobs dealt with.
        stop: Asked before every job; True ends the call in good order.

    Raises:
        ConfigError: Fewer than two draws, or examples that are fewer than the samples.
        CheckpointError: An adapter does not arrive.
        StoreError: A file was made in another way, or the disk is full.
    """
    _check(settings, examples)
    base = model_sha256(model)
    slot = ModelSlot.open(model, [*units, *references], plan, base)
    work = _Curvature(run, slot, plan, examples, settings, base)
    jobs: list[Job] = [*((unit, True) for unit in references), *((unit, False) for unit in units)]
    return walk(
        jobs,
        lambda job: work.measure(job, overwrite=overwrite),
        progress=progress,
        stop=stop,
    )


def _check(settings: CurvatureSettings, examples: Mapping[str, DrawnExamples]) -> None:
    """Refuse settings that would leave a part without a number."""
    if settings.draws < 1:
        raise ConfigError(f"{settings.draws} draws give no Fisher trace", fix="give --draws 1")
    for head, drawn in examples.items():
        if settings.samples < 2 or len(drawn.examples) < settings.samples:
            raise ConfigError(
                f"an interval needs at least 2 samples with an example each: {settings.samples} "
                f"samples of {len(drawn.examples)} examples of the {head} head",
                fix="give more examples, or leave sharpness out",
            )
