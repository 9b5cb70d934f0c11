"""Small random models of several families, a tokenizer, questions and adapters."""

from collections.abc import Callable
from typing import Any

import pytest
from tiny_families import build_model
from tiny_plan import (
    build_plan,
    build_questions,
    build_tokenizer,
    save_adapters,
    save_lora,
)
from transformers import PreTrainedTokenizerFast

from critical_phase.checkpoints import Checkpoint, Question
from critical_phase.probes import Plan


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture
def questions() -> tuple[Question, ...]:
    return build_questions()


@pytest.fixture
def plan() -> Plan:
    return build_plan()


@pytest.fixture
def make_model() -> Callable[..., Any]:
    return build_model


@pytest.fixture
def make_adapters() -> Callable[..., tuple[Checkpoint, ...]]:
    return save_adapters


@pytest.fixture
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return build_tokenizer


@pytest.fixture
def make_lora() -> Callable[..., tuple[Checkpoint, ...]]:
    return save_lora
