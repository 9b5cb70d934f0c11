"""Two proofs before anything is decoded: updates arrive, and padding with a cache is exact."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from critical_phase.checkpoints import Checkpoint
from critical_phase.errors import CheckpointError
from critical_phase.probes.generation.answer import Asked
from critical_phase.probes.generation.decode import anew, from_cache
from critical_phase.probes.generation.lines import Lines
from critical_phase.probes.landing import fresh_logits, plain_logits

_NEAR = {torch.float32: 1e-4, torch.float64: 1e-4}
_COARSE = 5e-2
"""Most that logits may differ, as a share of the largest one."""


@torch.no_grad()
def check_arrival(lines: Lines, checkpoints: Mapping[str, Checkpoint], asked: Asked) -> float:
    """Compare every head's logits with those of PEFT's own loading.

    Args:
        lines: All models together, as they will run.
        checkpoints: The saved adapter of some of them, by name.
        asked: A prompt.

    Returns:
        The largest difference, as a share of the largest logit.

    Raises:
        CheckpointError: A head, or the base beside it, is not what it is alone.
    """
    ids = torch.tensor([asked.prompt], device=lines.model.device)
    base = plain_logits(lines.model, ids)
    with lines.attached():
        logits = lines.model(input_ids=lines.repeated(ids), use_cache=False).logits.float().cpu()
    worst = 0.0
    for name, found in lines.split(logits).items():
        saved = checkpoints.get(name)
        if saved is None and name != "base":
            continue
        alone = saved is None or saved.kind == "base"
        expected = base if alone or saved is None else fresh_logits(lines.model, saved, ids)
        gap = _gap(found, expected)
        if not gap <= _near(lines.model):
            raise CheckpointError(
                f"the {name} model beside the others differs from a fresh load by {gap:.1e} of "
                "the largest logit",
                where="" if saved is None else str(saved.path),
                fix="this kind of model or adapter cannot be decoded from; please report both",
            )
        worst = max(worst, gap)
    return worst


@torch.no_grad()
def prove_padding(lines: Lines, asked: Sequence[Asked]) -> tuple[bool, str]:
    """Tell whether padded prompts and a cache give the logits of single prompts without either.

    Two tokens are written behind the shortest and the longest prompt, in both ways.

    Returns:
        Whether they agree, and a sentence that says by how much.
    """
    ends = [
        min(asked, key=lambda one: len(one.prompt)),
        max(asked, key=lambda one: len(one.prompt)),
    ]
    fast, slow = from_cache(lines, ends), anew(lines, ends)
    next(fast), next(slow)
    tokens, worst = torch.empty(0, dtype=torch.long), 0.0
    for _ in range(2):
        try:
            found = fast.send(tokens)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            return False, f"the model does not run from a cache: {str(error).splitlines()[0]}"
        wanted = slow.send(tokens)
        worst = max([worst, *(_gap(found[name], wanted[name]) for name in wanted)])
        tokens = next(iter(wanted.values())).argmax(-1).cpu()
    limit = _near(lines.model)
    said = f"padded and single prompts differ by {worst:.1e} of the largest logit"
    return worst <= limit, f"{said} (limit {limit:.0e})"


def _near(model: Any) -> float:
    return _NEAR.get(model.dtype, _COARSE)


def _gap(found: Tensor, expected: Tensor) -> float:
    expected = expected.float().cpu()
    return float((found.float().cpu() - expected).abs().max() / expected.abs().max())
