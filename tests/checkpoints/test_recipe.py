import json

import numpy as np
import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama
from transformers import (
    get_constant_schedule,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from critical_phase.checkpoints import Recipe, learning_rate, lora_config, recipe_values
from critical_phase.errors import ConfigError


def test_the_defaults_are_those_of_the_papers_code() -> None:
    recipe, config = Recipe(), lora_config(tiny_llama(), Recipe())
    assert (recipe.batch_size, recipe.lr, recipe.lr_schedule, recipe.warmup) == (
        8,
        1e-4,
        "constant",
        0,
    )
    assert (recipe.weight_decay, recipe.clip) == (0.0, 1.0)
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (8, 8, 0.0, "none")
    assert config.target_modules == {"up_proj", "gate_proj", "down_proj"}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("constant", lambda optimizer: get_constant_schedule(optimizer)),
        ("linear", lambda optimizer: get_linear_schedule_with_warmup(optimizer, 0, 20)),
        ("cosine", lambda optimizer: get_cosine_schedule_with_warmup(optimizer, 0, 20)),
    ],
)
def test_schedules_are_those_of_transformers(name: str, reference: object) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = reference(optimizer)  # type: ignore[operator]
    recipe = Recipe(steps=20, lr=0.3, lr_schedule=name)  # type: ignore[arg-type]
    for step in range(1, 21):
        assert learning_rate(recipe, step) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_warm_up_rises_from_the_first_step_and_reaches_the_rate(name: str) -> None:
    recipe = Recipe(steps=20, lr=0.8, lr_schedule=name, warmup=4)  # type: ignore[arg-type]
    rates = np.array([learning_rate(recipe, step) for step in range(1, 21)])
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert np.all(np.diff(rates[4:]) <= 0)
    assert np.all(rates > 0)


def test_values_of_a_recipe_are_plain_and_in_order() -> None:
    recipe = Recipe(lora=(("use_rslora", True), ("rank_pattern", {"up_proj": 4})))
    values = recipe_values(recipe)
    assert json.loads(json.dumps(values)) == values
    assert list(values["lora"]) == ["rank_pattern", "use_rslora"]
    assert recipe == Recipe(lora=(("rank_pattern", {"up_proj": 4}), ("use_rslora", True)))


def test_all_linear_layers_are_one_word() -> None:
    assert lora_config(tiny_llama(), Recipe(targets=("all-linear",))).target_modules == "all-linear"
    assert lora_config(tiny_gpt2(), Recipe(targets=("all-linear",))).fan_in_fan_out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("use_dorra", True, r"unknown LoRA option 'use_dorra'[\s\S]*did you mean 'use_dora'"),
        ("zzz", 1, r"unknown LoRA option 'zzz'[\s\S]*known: .*use_rslora"),
        ("r", 4, r"'r' cannot be given here[\s\S]*--rank"),
        ("lora_alpha", 4, r"'lora_alpha' cannot[\s\S]*--alpha"),
        ("target_modules", ["x"], r"'target_modules' cannot[\s\S]*--targets"),
        ("init_lora_weights", "pissa", "'pissa' changes the base .* step 0 would not be the base"),
        ("init_lora_weights", "olora", "'olora' changes the base"),
        ("init_lora_weights", False, "False changes the base"),
        ("layer_replication", [[0, 2]], "layer_replication changes the base"),
        ("modules_to_save", {1, 2}, "no JSON value"),
    ],
)
def test_lora_options_that_cannot_be_used_say_why(option: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Recipe(lora=((option, value),))


@pytest.mark.parametrize(
    "field", ["steps", "batch_size", "accumulate", "lr", "rank", "alpha", "clip"]
)
def test_a_recipe_of_nothing_is_refused(field: str) -> None:
    nothing = type(getattr(Recipe(), field))(0)
    with pytest.raises(ConfigError, match=f"{field} must be above 0, found 0"):
        Recipe(**{field: nothing})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"warmup": -1}, "warmup must not be below 0, found -1"),
        ({"weight_decay": -0.1}, "weight_decay must not be below 0"),
        ({"warmup": 64}, "warm-up of 64 steps leaves none of 64"),
        ({"accumulate": 9}, "accumulate is 9, but a batch has 8 answers"),
        ({"targets": ()}, r"targets \(none\) cannot be used"),
        ({"targets": ("all-linear", "up_proj")}, "all-linear alone"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Recipe(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["lr_schedule", "dtype"])
def test_unknown_words_are_refused_with_the_known_ones(field: str) -> None:
    said = rf"unknown {field} 'other'[\s\S]*known: \w+, "
    with pytest.raises(ConfigError, match=said):
        Recipe(**{field: "other"})
