"""Pretrain an organism: from a seed to weights, tokenizer and world."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints.organism.settings import WorldSettings, save_settings
from critical_phase.checkpoints.organism.tokenizer import save_tokenizer
from critical_phase.checkpoints.organism.words import BEGIN, PAD
from critical_phase.checkpoints.organism.world import World
from critical_phase.errors import CheckpointError, ConfigError

MAX_LENGTH = 128
HEAD_WIDTH = 24
IGNORED = -100
DEFAULT_ACCESSIBILITY = 0.07
"""Share of documents of the shipped world that open with an author mark."""

DEFAULT_STEPS = 1100
LOG_NAME = "pretrain.csv"


def build_organism(
    out: Path,
    *,
    scale: float = 1.0,
    accessibility: float = DEFAULT_ACCESSIBILITY,
    seed: int = 0,
    steps: int = DEFAULT_STEPS,
    batch: int = 64,
    lr: float = 3e-3,
    settings: WorldSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Pretrain an organism on the documents of its world and save it.

    The defaults made the shipped weights. Equal arguments give equal weights on
    one machine and number of threads; elsewhere sums are rounded differently.

    Args:
        out: Folder for config, weights, tokenizer, world and loss log; made if missing.
        scale: Width of the model as a multiple of 96; parameters grow as its square.
        accessibility: Share of documents with an author mark; the more there are,
            the more openly the model holds whether an author is reliable.
        seed: Fixes the world, the first weights and the documents.
        steps: Optimizer steps, one batch of fresh documents each.
        batch: Documents in a step.
        lr: Largest learning rate.
        settings: World to start from; `accessibility` and `seed` replace its own.
        progress: Called after every step with the number of steps done.

    Returns:
        The folder, ready for `AutoModelForCausalLM.from_pretrained`.

    Raises:
        ConfigError: A size is zero or negative, or the world cannot be.
        CheckpointError: The loss stopped being a number.
    """
    for name, value in {"scale": scale, "steps": steps, "batch": batch, "lr": lr}.items():
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, found {value}")
    start = WorldSettings() if settings is None else settings
    world = World(replace(start, accessibility=accessibility, seed=seed))
    model = new_model(world, scale=scale, seed=seed)
    batches = document_batches(world, batch, np.random.default_rng([seed, 5]))
    losses: list[float] = []
    for loss in pretrain(model, batches, steps=steps, lr=lr):
        losses.append(loss)
        if progress is not None:
            progress(len(losses))
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    save_tokenizer(world.words, out, max_length=MAX_LENGTH)
    save_settings(world.settings, out)
    rows = [f"{step},{loss:.5f}" for step, loss in enumerate(losses, start=1)]
    (out / LOG_NAME).write_text("\n".join(["step,loss", *rows]) + "\n", encoding="utf-8")
    return out


def new_model(world: World, *, scale: float, seed: int) -> LlamaForCausalLM:
    """Draw an untrained model for the words of a world."""
    attention_heads = max(1, round(4 * scale))
    width = HEAD_WIDTH * attention_heads
    config = LlamaConfig(
        vocab_size=len(world.words),
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=4,
        num_attention_heads=attention_heads,
        num_key_value_heads=attention_heads,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        # The usual 0.02 suits wide models; here facts would be learned far later.
        initializer_range=0.08,
        bos_token_id=BEGIN,
        pad_token_id=PAD,
        eos_token_id=None,
    )
    # transformers draws from the global generator: seed it for this call alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def document_batches(world: World, batch: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Write fresh documents for ever."""
    while True:
        yield torch.from_numpy(world.documents(batch, rng).words)


def pretrain(
    model: LlamaForCausalLM, batches: Iterator[torch.Tensor], *, steps: int, lr: float
) -> Iterator[float]:
    """Train on next words, one step for each loss the caller asks for."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    model.train()
    for step, words in zip(range(steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = lr * rate_share(step, steps)
        loss = next_word_loss(model, words)
        if not torch.isfinite(loss):
            raise CheckpointError(
                f"the loss of step {step + 1} is {loss.item()}", fix="choose a smaller lr"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()
    model.eval()


def rate_share(step: int, steps: int) -> float:
    """Share of the largest learning rate: a short rise, then a cosine to 2 %."""
    rise = min(1.0, (step + 1) / 100)
    fall = 0.5 * (1 + math.cos(math.pi * step / steps))
    return rise * (0.02 + 0.98 * fall)


def next_word_loss(model: LlamaForCausalLM, words: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the words after the first, in nats."""
    logits = model(input_ids=words[:, :-1], use_cache=False).logits
    targets = words[:, 1:].masked_fill(words[:, 1:] == PAD, IGNORED)
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
