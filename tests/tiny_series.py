"""Series as others make them: full weights in folders, and revisions in a hub cache."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_llama, word_tokenizer

HUB_ID = "maker/tiny"


def write_full_series(
    out: Path, steps: tuple[int, ...], *, name: str = "checkpoint-{}", build: Any = tiny_llama
) -> Path:
    """Write the tiny model with a little more noise at every step; step 0 is the model itself."""
    for step in steps:
        model, generator = build(), torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.02 * step * torch.randn(parameter.shape, generator=generator)
        model.save_pretrained(out / name.format(step))
        word_tokenizer().save_pretrained(out / name.format(step))
    return out


def fill_hub_cache(cache: Path, series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay a series out as the hub's client does, one revision per step, and go offline."""
    home = cache / f"models--{HUB_ID.replace('/', '--')}"
    for folder in sorted(series.iterdir()):
        revision = folder.name.replace("checkpoint-", "step")
        commit = hashlib.sha1(revision.encode()).hexdigest()
        shutil.copytree(folder, home / "snapshots" / commit)
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / revision).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
