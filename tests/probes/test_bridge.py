"""Our readings are those of TransformerLens' bridge, with a non-zero adapter in the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from critical_phase.checkpoints import ORGANISM, AdapterSlot, load_model
from critical_phase.probes import bridge_parity
from critical_phase.probes.hooks import count_hooks

TOKENS = tuple(range(3, 40))
# float32, and the bridge works attention out step by step.
TOLERANCE = 1e-5


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral", "gpt2"])
def test_readings_equal_the_bridge_on_a_merged_adapter(
    family: str, make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> None:
    (checkpoint,) = make_adapters(tmp_path / "heads", family, (1,))
    slot = AdapterSlot.attach(make_model(family), checkpoint)
    model = merged_twin(slot, make_model(family))
    hooks = count_hooks(model)
    parity = bridge_parity(model, TOKENS)
    assert parity.worst < TOLERANCE
    assert count_hooks(model) == hooks


def merged_twin(slot: AdapterSlot, plain: Any) -> Any:
    """Copy the merged weights into a model without adapters."""
    merged = dict(slot.model.named_parameters())
    for name, parameter in plain.named_parameters():
        owner, _, leaf = name.rpartition(".")
        found = merged.get(name, merged.get(f"{owner}.base_layer.{leaf}"))
        parameter.data.copy_(found.data)
    return plain


def test_readings_equal_the_bridge_under_a_live_adapter(
    make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> None:
    (checkpoint,) = make_adapters(tmp_path / "heads", "llama", (1,))
    slot = AdapterSlot.attach(make_model("llama"), checkpoint)
    assert bridge_parity(slot.model, TOKENS).worst < TOLERANCE


def test_readings_equal_the_bridge_on_the_organism_with_an_adapter(
    make_lora: Callable[..., Any], tmp_path: Path
) -> None:
    (checkpoint,) = make_lora(tmp_path, load_model(ORGANISM)[0], ["q_proj", "down_proj"])
    model, _ = load_model(ORGANISM)
    before = bridge_parity(model, TOKENS)
    slot = AdapterSlot.attach(model, checkpoint)
    with torch.no_grad():
        with slot.base():
            base = slot.model(torch.tensor([TOKENS])).logits
        assert not torch.allclose(slot.model(torch.tensor([TOKENS])).logits, base, atol=1e-2)
    assert max(before.worst, bridge_parity(slot.model, TOKENS).worst) < TOLERANCE
