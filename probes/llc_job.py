"""The learning coefficients of one series: settings chosen once, then one file per checkpoint."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import model_sha256
from critical_phase.probes.effect_files import DrawnExamples
from critical_phase.probes.held_adapter import held_adapter, put_random_twin
from critical_phase.probes.keyed_files import number, stored, write
from critical_phase.probes.llc_files import chains_json, choice_json, llc_path, settings_path
from critical_phase.probes.llc_quadratic import quadratic_control
from critical_phase.probes.llc_sampler import Sampling, sample_chain
from critical_phase.probes.llc_sweep import Choice, sweep
from critical_phase.probes.llc_target import (
    AnswerTarget,
    Sampled,
    chosen_parameters,
    losses_and_slope,
    norm_of,
    size_of,
)
from critical_phase.probes.plan import Plan
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.units import Unit
from critical_phase.probes.walk import walk

PASS = 64
"""Examples of one pass over all of them."""


@dataclass(frozen=True, slots=True)
class LlcSettings:
    """What decides the numbers, beside checkpoint and examples."""

    sampling: Sampling
    """With lr and gamma of 0 where they are to be chosen by a sweep."""
    sampled: Sampled = "factors"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LlcReport:
    """What one call did."""

    done: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    failed: tuple[tuple[Unit, str], ...]
    remaining: tuple[Unit, ...]
    """Left over because a stop was asked for."""
    settings: Mapping[str, Any]
    """What settings.json holds; empty where nothing was to be done."""


class _Series:
    """One head, its model and its examples."""

    def __init__(
        self,
        run: Path,
        head: str,
        slot: ModelSlot,
        examples: DrawnExamples,
        settings: LlcSettings,
        base_sha256: str,
    ) -> None:
        self._run, self._head, self._slot = run, head, slot
        self._examples, self._settings = examples, settings
        sampling = asdict(settings.sampling)
        self.key: dict[str, Any] = {
            "kind": "llc",
            "sampled": settings.sampled,
            "seed": settings.seed,
            "examples_sha256": examples.sha256,
            "base_sha256": base_sha256,
            "compute_dtype": str(slot.model.dtype).removeprefix("torch."),
            **{name: sampling[name] for name in ("method", "beta", "burn_in", "draws", "chains",
                                                 "batch")},
        }  # fmt: skip

    @contextlib.contextmanager
    def _at(self, unit: Unit) -> Iterator[AnswerTarget]:
        """Hold a checkpoint with gradients."""
        with held_adapter(self._slot, unit, "learning coefficients are sampled") as live:
            chosen = chosen_parameters(live, self._settings.sampled)
            for name, tensor in live.items():
                tensor.requires_grad_(name in chosen)
            yield AnswerTarget(self._slot.model, chosen, self._examples.examples)

    def settle(self, unit: Unit, *, overwrite: bool) -> dict[str, Any]:
        """Read the settings of the series, or choose and write them."""
        path, given = settings_path(self._run, self._head), self._settings.sampling
        asked = {"lr": given.lr or None, "gamma": given.gamma or None}
        key = self.key | {"asked": asked, "reference_step": unit.step,
                          "reference_sha256": unit.adapter_sha256}  # fmt: skip
        if (found := stored(path, key, overwrite=overwrite)) is not None:
            return found
        choice: Choice | None = None
        with self._at(unit) as target:
            count, size = target.count, size_of(target.parameters)
            if not (given.lr and given.gamma):
                here, _ = losses_and_slope(target, PASS)
                choice = sweep(target, here, given, (self._settings.seed, 1))
        chosen = given if choice is None else replace(given, lr=choice.lr, gamma=choice.gamma)
        known, chains = quadratic_control(chosen, count, (self._settings.seed, 2))
        return write(
            path,
            key,
            lr=chosen.lr,
            gamma=chosen.gamma,
            n=count,
            n_beta=chosen.heat(count),
            parameters=size,
            sweep=None if choice is None else choice_json(choice),
            quadratic={"known": known, "chains": chains_json(chains)},
        )

    def measure(
        self, unit: Unit, settled: Mapping[str, Any], *, overwrite: bool, control: bool = False
    ) -> bool:
        """Estimate one checkpoint, or its random twin; False where the file is there already."""
        path = llc_path(self._run, self._head, unit.step, control=control)
        sampling = replace(self._settings.sampling, lr=settled["lr"], gamma=settled["gamma"])
        key = self.key | {"lr": sampling.lr, "gamma": sampling.gamma,
                          "adapter_sha256": unit.adapter_sha256}  # fmt: skip
        if stored(path, key, overwrite=overwrite) is not None:
            return False
        with self._at(unit) as target:
            if control:
                put_random_twin(unit, target.parameters, seed=self._settings.seed)
            here, slope = losses_and_slope(target, PASS)
            chains = [
                sample_chain(target, here, sampling, (self._settings.seed, 3, place))
                for place in range(sampling.chains)
            ]
            content = {
                "step": unit.step,
                "head": self._head,
                "control": "random_adapter" if control else None,
                "loss": number(float(here.mean())),
                "gradient_norm": number(slope),
                "norm": number(norm_of(target.parameters)),
                "chains": chains_json(chains),
            }
        write(path, key, **content)
        return True


def learning_coefficients(
    run: Path,
    model: Any,
    head: str,
    units: Sequence[Unit],
    examples: DrawnExamples,
    plan: Plan,
    settings: LlcSettings,
    *,
    reference: Unit,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> LlcReport:
    """Estimate the learning coefficient at every checkpoint that has no finished file yet.

    Args:
        run: Run folder; `llc/<head>/` goes into it.
        model: The base model in evaluation mode. Adapters are put into it in place.
        head: Name of the series.
        units: Its checkpoints, in order.
        examples: The data: training examples of the head, the same for all checkpoints.
        plan: Questions of the run, with one of which the landing of adapters is proved.
        settings: How is sampled.
        reference: Checkpoint at which settings are chosen, and whose random twin is the control.
        overwrite: Sample again what was sampled in another way.
        progress: Called with the number of checkpoints dealt with.
        stop: Asked before every checkpoint; True ends the call in good order.

    Raises:
        CheckpointError: An adapter does not arrive, or is none.
        FitError: No setting of the sweep has finite chains.
        StoreError: A file was made in another way, or the disk is full.
    """
    base = model_sha256(model)
    slot = ModelSlot.open(model, [*units, reference], plan, base)
    series = _Series(run, head, slot, examples, settings, base)
    settled = series.settle(reference, overwrite=overwrite)
    jobs = [(reference, True), *((unit, False) for unit in units)]
    walked = walk(
        jobs,
        lambda job: series.measure(job[0], settled, overwrite=overwrite, control=job[1]),
        progress=progress,
        stop=stop,
    )
    return LlcReport(
        tuple(unit for unit, control in walked.done if not control),
        tuple(unit for unit, control in walked.existing if not control),
        tuple((unit, message) for (unit, _), message in walked.failed),
        tuple(unit for unit, control in walked.remaining if not control),
        settled,
    )
