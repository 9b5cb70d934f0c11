"""A new adapter on a base: it changes nothing at step 0, and only it is trained."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.recipe import Recipe, lora_config
from critical_phase.errors import ConfigError

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}


def fresh_adapter(model: PreTrainedModel, recipe: Recipe, seed: int) -> torch.nn.Module:
    """Put a fresh LoRA into the model: A drawn, B zero, so step 0 is the base exactly.

    Raises:
        ConfigError: The recipe does not fit the model, or step 0 would not be the base.
    """
    _check_type(model, recipe)
    config = lora_config(model, recipe)
    before = _logits(model)
    # PEFT draws from the global generator: give it a seeded one for this call alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with quiet_peft():
                adapter: torch.nn.Module = get_peft_model(model, config)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"cannot put an adapter on {', '.join(recipe.targets)}: "
                f"{str(error).splitlines()[0]}",
                fix="give --targets the names of linear layers of this model, or all-linear",
            ) from error
    _only_adapters_draw(adapter)
    _check_trained(adapter)
    _check_neutral(before, _logits(adapter), recipe.dtype)
    return adapter


@contextlib.contextmanager
def step_generator(recipe: Recipe, seed: int, step: int, process: int) -> Iterator[None]:
    """Give what adapters draw (dropout) a generator of its own for one step.

    It depends on seed, step and process alone, so a resumed training draws what an
    uninterrupted one would have drawn, and no generator state needs to be kept.
    """
    if not recipe.lora:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed((seed * 1_000_003 + step) * 1_009 + process)
        yield


def _only_adapters_draw(adapter: torch.nn.Module) -> None:
    """Switch training behaviour on in the adapters' own modules and nowhere else.

    The base stays in eval mode: its dropout would change what both heads share, and
    no recipe asks for it.
    """
    adapter.eval()
    for layer in adapter.modules():
        if isinstance(layer, LoraLayer) and isinstance(layer, torch.nn.Module):
            layer.training = True
            for name, child in layer.named_children():
                if name != "base_layer":
                    child.train()


def _check_type(model: PreTrainedModel, recipe: Recipe) -> None:
    found = {str(p.dtype).removeprefix("torch.") for p in model.parameters()}
    found = {name for name in found if name.startswith(("float", "bfloat"))}
    if found != {recipe.dtype}:
        raise ConfigError(
            f"the recipe says a base in {recipe.dtype}, but its weights are "
            f"{', '.join(sorted(found))}",
            fix="load the base in the type of the recipe",
        )


def _check_trained(adapter: torch.nn.Module) -> None:
    """Adapters are float32: smaller types round away the small steps of dense checkpoints."""
    for name, parameter in adapter.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise ConfigError(
                f"{name} would be trained in {str(parameter.dtype).removeprefix('torch.')}, "
                "but adapters must be float32",
                fix="use --dtype float32, or leave modules_to_save and bias out",
            )


@torch.no_grad()
def _logits(model: Any) -> torch.Tensor:
    """Run one short row of token ids that every vocabulary has, without any dropout."""
    ids = torch.arange(8, device=model.device).remainder(model.config.get_text_config().vocab_size)[
        None
    ]
    with _all_eval(model):
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits.float().cpu()
    return logits


@contextlib.contextmanager
def _all_eval(model: torch.nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check_neutral(before: torch.Tensor, after: torch.Tensor, dtype: str) -> None:
    """Refuse options whose adapter is not the base at step 0, whatever they are called.

    Plain LoRA gives equal bits. DoRA scales by a quotient of two equal norms, which may
    round: hence a tolerance, some eps of the base's type.
    """
    apart = float((before - after).abs().max())
    if not apart <= TOLERANCE[dtype] * float(before.abs().max()):
        raise ConfigError(
            f"step 0 would not be the base: its logits differ by {apart:.2g}",
            fix="leave out the LoRA options that change the start",
        )
