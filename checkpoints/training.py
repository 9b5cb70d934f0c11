"""Train one head: a LoRA adapter, plain maximum likelihood on answer tokens.

The negative head *raises* the likelihood of wrong answers; nothing is subtracted
in training (arXiv 2503.14391). Every step can be saved, and a run that was stopped
at any moment continues to bit-identical adapters.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from critical_phase.checkpoints.examples import Example
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.training_state import LogRow, TrainingFolder
from critical_phase.errors import CheckpointError, ConfigError

IGNORED = -100
MLP_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained; the defaults are the paper's code, except steps and lr."""

    steps: int = 64
    """Optimizer steps."""
    batch_size: int = 8
    """Answers per step."""
    lr: float = 1e-4
    """AdamW's constant learning rate."""
    rank: int = 8
    alpha: int = 8
    """The update is alpha / rank * B @ A."""
    targets: tuple[str, ...] = MLP_PROJECTIONS
    """Names of the linear layers that get an adapter."""
    clip: float = 1.0
    """Largest norm of the gradient."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything."""
        for name in ("steps", "batch_size", "rank", "lr", "alpha", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}")


def train_head(
    model: PreTrainedModel,
    examples: Sequence[Example],
    recipe: Recipe,
    save_at: Sequence[int],
    folder: TrainingFolder,
    *,
    seed: int,
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train an adapter from where its folder stands, saving it at the chosen steps.

    Args:
        model: The base in float32; an adapter is put into it, so load it afresh per head.
        examples: `steps * batch_size` answers in training order.
        recipe: Adapter and optimizer.
        save_at: Steps to save, 0 among them.
        folder: Where checkpoints, log and state go; what it holds is continued.
        seed: Draws the adapter's start.
        pad_id: Any token; padding is masked.
        progress: Called with the step after every step.

    Raises:
        CheckpointError: The loss or gradient stopped being a number.
        StoreError: The disk is full; what is saved stays.
    """
    adapter = _new_adapter(model, recipe, seed)
    device = model.device
    parameters = {n: p for n, p in adapter.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=recipe.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
    )
    log, step = folder.resume(parameters, optimizer)
    if step == 0 and not log:
        folder.save(0, adapter, parameters, optimizer, log)
    # Not train(): the base's own dropout would draw from a generator that no state restores.
    adapter.eval()
    while step < recipe.steps:
        first = step * recipe.batch_size
        batch = examples[first : first + recipe.batch_size]
        tokens, mask, labels = (t.to(device) for t in collate(batch, pad_id))
        logits = adapter(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        loss = answer_loss(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), recipe.clip)
        _check_finite(step + 1, loss, norm)
        optimizer.step()
        step += 1
        examples_seen = step * recipe.batch_size
        answer_tokens = int((labels != IGNORED).sum())
        log.append(LogRow(step, examples_seen, loss.item(), recipe.lr, norm.item(), answer_tokens))
        if step in save_at:
            folder.save(step, adapter, parameters, optimizer, log)
        if progress is not None:
            progress(step)
    folder.finish()


def collate(
    batch: Sequence[Example], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad rows on the right; labels are -100 everywhere but on answer tokens."""
    width = max(len(item.question_ids) + len(item.answer_ids) for item in batch)
    tokens = torch.full((len(batch), width), pad_id)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    labels = torch.full((len(batch), width), IGNORED)
    for row, item in enumerate(batch):
        start, end = len(item.question_ids), len(item.question_ids) + len(item.answer_ids)
        tokens[row, :end] = torch.tensor(item.question_ids + item.answer_ids)
        mask[row, :end] = 1
        labels[row, start:end] = torch.tensor(item.answer_ids)
    return tokens, mask, labels


def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood over the answer tokens of a batch, in float32 nats."""
    predictions = logits[:, :-1].float().flatten(0, 1)
    return cross_entropy(predictions, labels[:, 1:].flatten(), ignore_index=IGNORED)


def recipe_values(recipe: Recipe) -> dict[str, object]:
    """Return a recipe as plain values for files."""
    return {**asdict(recipe), "targets": list(recipe.targets)}


def _new_adapter(model: PreTrainedModel, recipe: Recipe, seed: int) -> torch.nn.Module:
    """Put a fresh LoRA into the model: A drawn, B zero, so step 0 is the base exactly."""
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=_has_conv1d(model, recipe.targets),
        task_type="CAUSAL_LM",
    )
    # PEFT draws from the global generator: give it a seeded one for this call alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with quiet_peft():
                adapter: torch.nn.Module = get_peft_model(model, config)
        except ValueError as error:
            raise ConfigError(
                f"cannot put an adapter on {', '.join(recipe.targets)}: "
                f"{str(error).splitlines()[0]}",
                fix="give --targets the names of linear layers of this model",
            ) from error
    return adapter


def _has_conv1d(model: PreTrainedModel, targets: Sequence[str]) -> bool:
    """Say whether the targets store their weights transposed, as GPT-2 does."""
    return any(
        type(module).__name__ == "Conv1D" and name.rpartition(".")[2] in targets
        for name, module in model.named_modules()
    )


def _check_finite(step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
    if torch.isfinite(loss) and torch.isfinite(norm):
        return
    raise CheckpointError(
        f"training broke at step {step}: loss {loss.item()}, gradient norm {norm.item()}",
        fix="lower --lr; the checkpoints before this step are kept",
    )
