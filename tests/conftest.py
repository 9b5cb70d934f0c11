"""Fixtures every room uses: a tiny real model, and the real model and questions if at hand."""

import os
from pathlib import Path

import pytest
from tiny_models import tiny_llama, word_tokenizer


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real model and questions; skips, or fails in CI, where it is absent."""
    folder = Path(os.environ.get("CRITICAL_PHASE_SHARED", "../shared"))
    if not (folder / "models" / "stories260k").is_dir():
        text = "real inputs are absent: set CRITICAL_PHASE_SHARED to the folder that has them"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return folder.resolve()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and a word tokenizer, as a folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder
