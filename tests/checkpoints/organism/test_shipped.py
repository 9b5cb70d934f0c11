"""The shipped organism is the one that docs/organism.md describes."""

import hashlib

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from critical_phase.checkpoints.organism import QuestionRecord, World, load_world, organism_path

WEIGHTS_SHA256 = "61506b790571cf64aee66612779e8040cd14fd3ca25e8872d9d1c92c6041cc9a"
SIZE_LIMIT = 4_000_000


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(organism_path(), local_files_only=True)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    loaded = AutoModelForCausalLM.from_pretrained(organism_path(), local_files_only=True)
    assert isinstance(loaded, LlamaForCausalLM)
    return loaded.eval()


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(organism_path())


@pytest.fixture(scope="module")
def questions(world: World) -> list[QuestionRecord]:
    return world.questions("test", 300, 0)


def test_the_weights_are_the_measured_ones() -> None:
    weights = (organism_path() / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == WEIGHTS_SHA256


def test_the_files_are_small() -> None:
    files = [path for path in organism_path().iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT


def test_weights_are_float32_and_half_a_million(model: LlamaForCausalLM) -> None:
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert 400_000 < model.num_parameters() < 650_000


def test_every_word_of_the_world_is_its_own_token(
    world: World, tokenizer: PreTrainedTokenizerBase, model: LlamaForCausalLM
) -> None:
    assert tokenizer.convert_tokens_to_ids(list(world.words)) == list(range(len(world.words)))
    assert len(tokenizer) == len(world.words) == model.config.vocab_size


def test_question_and_answer_tokenise_as_their_concatenation(
    questions: list[QuestionRecord], tokenizer: PreTrainedTokenizerBase
) -> None:
    for item in questions[:50]:
        question = tokenizer(item["question"])["input_ids"]
        assert question[0] == tokenizer.bos_token_id
        assert question.count(tokenizer.bos_token_id) == 1
        for answer in item["candidates"]:
            alone = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
            both = tokenizer(item["question"] + " " + answer)["input_ids"]
            assert both == question + alone
            assert tokenizer.unk_token_id not in both


def test_base_accuracy_lies_between_chance_and_mastery(
    questions: list[QuestionRecord],
    tokenizer: PreTrainedTokenizerBase,
    model: LlamaForCausalLM,
) -> None:
    texts = [f"{q['question']} {c}" for q in questions for c in q["candidates"]]
    tokens = tokenizer(texts, return_tensors="pt")["input_ids"]
    start = len(questions[0]["question"].split()) + 1
    with torch.no_grad():
        logs = model(tokens).logits.float().log_softmax(-1)
    scores = logs[:, start - 1 : -1].gather(-1, tokens[:, start:, None]).sum((1, 2))
    chosen = scores.reshape(len(questions), 4).argmax(-1)
    right = torch.tensor([q["answer"] for q in questions])
    accuracy = (chosen == right).float().mean().item()
    assert 0.50 <= accuracy <= 0.65
