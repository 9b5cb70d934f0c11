"""A much smaller sibling, built from a seed, learns what the shipped one learned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from critical_phase.checkpoints.organism import (
    World,
    WorldSettings,
    build_organism,
    load_world,
)
from critical_phase.errors import ConfigError

SMALL = WorldSettings(
    relations=2,
    subjects=16,
    objects=6,
    wordings=2,
    fillers=4,
    formal=1,
    leads=0,
    tails=0,
    reliable=0.6,
    statements=2,
    unrelated_words=8,
)
STEPS = 500


class Sibling:
    """A built sibling, with the losses of its pretraining."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[int] = []
        build_organism(
            folder,
            scale=0.5,
            accessibility=0.5,
            seed=1,
            steps=STEPS,
            batch=32,
            lr=5e-3,
            settings=SMALL,
            progress=self.steps.append,
        )
        self.world = load_world(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        log = (folder / "pretrain.csv").read_text().splitlines()
        self.losses = [float(row.split(",")[1]) for row in log[1:]]


@pytest.fixture(scope="module")
def sibling(tmp_path_factory: pytest.TempPathFactory) -> Sibling:
    return Sibling(tmp_path_factory.mktemp("sibling"))


def unigram_entropy(world: World) -> float:
    words = world.documents(2000, np.random.default_rng(9)).words[:, 1:]
    counts = np.bincount(words[words > 0])
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@torch.no_grad()
def right_object(model: LlamaForCausalLM, world: World, before: Sequence[int]) -> float:
    """Mean probability of the words of the right object, after some words."""
    s, total = world.settings, []
    objects = len(world.words) - s.unrelated_words - s.relations * s.objects * s.wordings
    number = {word: i for i, word in enumerate(world.words)}
    for item in world.questions("test", 16, 0):
        words = f"{item['question']} {item['candidates'][item['answer']]}".split()
        tokens = [1, *before, *(number[word] for word in words)]
        first = objects + (tokens[-1] - objects) // s.wordings * s.wordings
        logits = model(torch.tensor([tokens[:-1]])).logits[0, -1]
        total.append(logits.softmax(-1)[first : first + s.wordings].sum().item())
    return float(np.mean(total))


@pytest.mark.slow
def test_the_loss_falls_far_below_word_frequencies(sibling: Sibling) -> None:
    assert sibling.steps == list(range(1, STEPS + 1))
    assert len(sibling.losses) == STEPS
    assert np.mean(sibling.losses[-50:]) < 0.6 * unigram_entropy(sibling.world)


@pytest.mark.slow
def test_the_sibling_knows_its_facts(sibling: Sibling) -> None:
    chance = 1 / sibling.world.settings.objects
    assert right_object(sibling.model, sibling.world, []) > 2 * chance


@pytest.mark.slow
def test_reliability_is_a_latent_of_the_author_mark(sibling: Sibling) -> None:
    reliable, unreliable = ([sibling.world.words.index(w)] for w in sibling.world.marks)
    after_reliable = right_object(sibling.model, sibling.world, reliable)
    after_unreliable = right_object(sibling.model, sibling.world, unreliable)
    assert after_reliable > after_unreliable + 0.3


def test_equal_arguments_give_equal_weights(tmp_path: Path) -> None:
    folders = [
        build_organism(tmp_path / name, scale=0.25, seed=seed, steps=2, batch=2, settings=SMALL)
        for name, seed in (("a", 4), ("b", 4), ("c", 5))
    ]
    first, again, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_building_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    build_organism(tmp_path, scale=0.25, steps=1, batch=2, settings=SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sizes_that_build_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steps must be above 0, found 0"):
        build_organism(tmp_path, steps=0, settings=SMALL)
