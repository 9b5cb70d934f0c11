"""The read-out from a model's files gives the spread of the logits of the model itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import build_model

from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.checkpoints import load_model
from critical_phase.cli import read_out_weights
from critical_phase.cli.read_out_weights import NORMS, read_read_out
from critical_phase.probes.sites import resolve

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3",
            "gpt2", "gpt_neo", "gpt_neox")  # fmt: skip


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the vocabulary in several parts."""
    monkeypatch.setattr(read_out_weights, "ROWS", 40)


@torch.no_grad()
def states_and_logits(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden states before the final norm, and the logits that the model makes of them."""
    kept: list[torch.Tensor] = []
    handle = resolve(model).final_norm.register_forward_pre_hook(
        lambda _, inputs: kept.append(inputs[0])
    )
    logits = model(input_ids=torch.arange(2, 22).view(2, 10)).logits
    handle.remove()
    return kept[0].flatten(0, 1).double().numpy(), logits.flatten(0, 1).double().numpy()


def assert_spread(read_out: ReadOut | str, model: Any) -> None:
    assert isinstance(read_out, ReadOut), read_out
    states, logits = states_and_logits(model)
    if (cap := getattr(model.config, "final_logit_softcapping", None)) is not None:
        assert read_out.capped
        logits = cap * np.arctanh(logits / cap)
    change = read_out.normalised(states[1:]) - read_out.normalised(states[:-1])
    expected = (logits[1:] - logits[:-1]).std(axis=1)
    np.testing.assert_allclose(read_out.spread(change), expected, rtol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("few_rows")
def test_the_spread_is_that_of_the_model_s_own_logits(family: str, tmp_path: Path) -> None:
    model = build_model(family)
    with torch.no_grad():  # norms start at one (or zero): a weight that is left out must be seen
        for weight in resolve(model).final_norm.parameters():
            weight.add_(0.5 * torch.rand_like(weight))
    model.save_pretrained(tmp_path)
    assert_spread(read_read_out(str(tmp_path)), model)


def test_the_organism_is_read_out() -> None:
    model, _ = load_model("organism")
    assert_spread(read_read_out("organism"), model)


def test_every_kind_that_is_read_has_a_test() -> None:
    kinds = {build_model(family).config.model_type for family in FAMILIES}
    assert kinds == set(NORMS)


def test_what_is_not_known_says_why(tmp_path: Path) -> None:
    assert "not on this disk" in str(read_read_out(str(tmp_path / "none")))
    model = build_model("llama")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "unheard_of"}))
    assert "models of kind 'unheard_of' have their final norm" in str(read_read_out(str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    assert "cannot be read" in str(read_read_out(str(tmp_path)))
