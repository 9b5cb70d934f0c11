"""An adapter whose update is multiplied is the adapter with another alpha."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from critical_phase.checkpoints import AdapterSlot, list_series, load_model
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.errors import CheckpointError

IDS = torch.tensor([[0, 2, 3, 4, 5]])


def save_adapter(model_folder: Path, out: Path, **settings: object) -> None:
    """Write one random adapter, as PEFT itself writes it."""
    model, _ = load_model(str(model_folder))
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["down_proj", "q_proj"], **settings)
    with quiet_peft():
        adapter = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in adapter.named_parameters():
        if "lora_" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    adapter.save_pretrained(out / "checkpoint-1", save_embedding_layers=False)


def logits(model_folder: Path, adapter: Path) -> torch.Tensor:
    model, _ = load_model(str(model_folder))
    with quiet_peft(), torch.no_grad():
        return PeftModel.from_pretrained(model, str(adapter)).eval()(IDS).logits


@pytest.mark.parametrize("beside", [False, True])
def test_a_scaled_update_is_that_of_another_alpha(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    if beside:
        monkeypatch.setattr(AdapterSlot, "_can_merge", lambda slot, checkpoint: False)
    save_adapter(tiny_model_folder, tmp_path / "own")
    shutil.copytree(tmp_path / "own", tmp_path / "twice")
    path = tmp_path / "twice" / "checkpoint-1" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 20}))
    slot = AdapterSlot.attach(
        load_model(str(tiny_model_folder))[0], list_series(tmp_path / "own").checkpoints[0]
    )
    plain = slot.model(IDS).logits.detach()
    slot.scale(2.5)
    slot.load(list_series(tmp_path / "own").checkpoints[0])
    scaled = slot.model(IDS).logits.detach()
    judge = logits(tiny_model_folder, tmp_path / "twice" / "checkpoint-1")
    assert torch.allclose(scaled, judge, atol=1e-5)  # a few eps of 1e-7 times the logits
    assert not torch.allclose(scaled, plain, atol=1e-3)


def test_what_is_more_than_an_update_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    save_adapter(tiny_model_folder, tmp_path, use_dora=True)
    series = list_series(tmp_path)
    slot = AdapterSlot.attach(load_model(str(tiny_model_folder))[0], series.checkpoints[0])
    with pytest.raises(CheckpointError, match="only the update of a plain LoRA"):
        slot.scale(2.0)
