"""Free text from pairs of heads: equal to plain PEFT models, token by token."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_generation import FAMILIES, Pair, tiny_prompts
from tiny_plan import build_tokenizer

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.generation import (
    Asked,
    Contrast,
    Decoding,
    Endings,
    Lines,
    check_arrival,
    check_room,
    combine,
    generate,
    plausible,
)
from critical_phase.probes.hooks import count_hooks

NEW = 5
GREEDY = Decoding(new_tokens=NEW)
PAIR = Decoding(Contrast(1.5, 0.05), new_tokens=NEW)
ONE = pytest.mark.parametrize("pair", FAMILIES[:1], indirect=True, scope="module")
"""What no family can change is tested on one."""


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    return tiny_prompts()


def ids(lines: Lines, asked: list[Asked], decoding: Decoding, pair: Pair, **given: Any) -> Any:
    made = generate(lines, asked, decoding, pair.ends, **{"layout": "cached", **given})
    return [one.ids for one in made.answers]


@torch.no_grad()
def naive(pair: Pair, prompt: tuple[int, ...], contrast: Contrast | None, name: str) -> list[int]:
    """Decode without cache, batch, or any code of ours, from models that PEFT loaded."""
    names = ("base", "positive", "negative") if contrast else (name,)
    models = {one: pair.fresh(one) for one in names}
    text = list(prompt)
    for _ in range(NEW):
        logs = {
            one: model(input_ids=torch.tensor([text])).logits[0, -1].double().log_softmax(-1)
            for one, model in models.items()
        }
        score = logs[names[0]]
        if contrast:
            gap = logs["positive"] - logs["negative"]
            keep = logs["base"].exp() >= contrast.plausibility * logs["base"].exp().max()
            score = torch.where(keep, logs["base"] + contrast.alpha * gap, -torch.inf)
        text.append(int(score.argmax()))
    return text[len(prompt) :]


def test_contrast_equals_naive_decoding_of_three_peft_models(
    pair: Pair, asked: list[Asked]
) -> None:
    made = ids(pair.lines, asked, PAIR, pair)
    assert [list(one) for one in made] == [naive(pair, a.prompt, PAIR.contrast, "") for a in asked]


@pytest.mark.parametrize("name", ["base", "positive"])
def test_one_model_equals_naive_decoding(pair: Pair, asked: list[Asked], name: str) -> None:
    made = ids(pair.alone(name), asked, GREEDY, pair)
    assert [list(one) for one in made] == [naive(pair, a.prompt, None, name) for a in asked]


@ONE
def test_heads_write_other_texts_than_the_base(pair: Pair, asked: list[Asked]) -> None:
    base = ids(pair.alone("base"), asked, GREEDY, pair)
    assert ids(pair.alone("positive"), asked, GREEDY, pair) != base
    assert ids(pair.lines, asked, PAIR, pair) != base


@pytest.mark.parametrize("plausibility", [0.0, 0.5])
def test_alpha_of_zero_is_the_base(pair: Pair, asked: list[Asked], plausibility: float) -> None:
    contrast = replace(PAIR, contrast=Contrast(0.0, plausibility))
    assert ids(pair.lines, asked, contrast, pair) == ids(pair.alone("base"), asked, GREEDY, pair)


@ONE
def test_full_plausibility_is_the_reference_at_any_alpha(pair: Pair, asked: list[Asked]) -> None:
    for name in ("base", "positive"):
        strict = replace(PAIR, contrast=Contrast(3.0, 1.0, name))
        assert ids(pair.lines, asked, strict, pair) == ids(pair.alone(name), asked, GREEDY, pair)


def test_a_batch_of_unequal_lengths_equals_one_by_one(pair: Pair, asked: list[Asked]) -> None:
    whole = generate(pair.lines, asked, PAIR, pair.ends)
    single = [
        generate(pair.lines, [one], PAIR, pair.ends, layout="cached").answers[0] for one in asked
    ]
    assert whole.layout == "cached"
    assert [one.ids for one in whole.answers] == [one.ids for one in single]
    sums = np.array([[one.logprob["chosen"] for one in many] for many in (whole.answers, single)])
    assert np.allclose(*sums, atol=1e-4)


@ONE
def test_cached_and_uncached_sampling_draw_the_same(pair: Pair, asked: list[Asked]) -> None:
    drawn = replace(PAIR, temperature=1.3, seed=4)
    both = [ids(pair.lines, asked, drawn, pair, layout=one) for one in ("cached", "single")]
    assert both[0] == both[1]
    assert both[0] != ids(pair.lines, asked, PAIR, pair)
    assert both[0] != ids(pair.lines, asked, replace(drawn, seed=5), pair)
    assert both[0][::-1] == ids(pair.lines, asked[::-1], drawn, pair, slots=1)


@ONE
def test_sums_of_log_probabilities_are_those_of_a_teacher_forced_pass(
    pair: Pair, asked: list[Asked]
) -> None:
    answer = generate(pair.lines, asked, PAIR, pair.ends).answers[1]
    text = torch.tensor([asked[1].prompt + answer.ids])
    for name in ("base", "positive", "negative"):
        with torch.no_grad():
            logs = pair.fresh(name)(input_ids=text).logits[0].double().log_softmax(-1)
        start = len(asked[1].prompt)
        wanted = logs[start - 1 : -1].gather(-1, text[0, start:, None]).sum()
        assert answer.logprob[name] == pytest.approx(float(wanted), abs=1e-3)


def test_arrival_is_proved_and_a_wrong_scaling_is_refused(pair: Pair, asked: list[Asked]) -> None:
    assert check_arrival(pair.lines, pair.saved, asked[1]) < 1e-5
    wrong = {m: (b, a, 2 * s) for m, (b, a, s) in pair.updates["negative"].items()}
    lines = Lines(pair.base, {"base": {}, "negative": wrong})
    with pytest.raises(CheckpointError, match="differs from a fresh load"):
        check_arrival(lines, pair.saved, asked[1])
    assert count_hooks(pair.base) == 0


@ONE
def test_a_model_without_a_cache_is_decoded_from_whole_texts(
    pair: Pair, asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ids(pair.lines, asked, PAIR, pair)
    forward = pair.base.forward

    def without_cache(*args: Any, past_key_values: Any = None, **given: Any) -> Any:
        if past_key_values is not None:
            raise TypeError("no cache here")
        return forward(*args, **given)

    monkeypatch.setattr(pair.base, "forward", without_cache)
    made = generate(pair.lines, asked, PAIR, pair.ends)
    assert (made.layout, [one.ids for one in made.answers]) == ("single", wanted)
    assert made.layout_reason == "the model does not run from a cache: no cache here"


@ONE
def test_memory_that_runs_out_halves_the_batch(
    pair: Pair, asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ids(pair.lines, asked, PAIR, pair)
    forward = pair.base.forward

    @functools.wraps(forward)
    def small(*args: Any, **given: Any) -> Any:
        if len(given["input_ids"]) > 6:
            raise torch.OutOfMemoryError("too large")
        return forward(*args, **given)

    monkeypatch.setattr(pair.base, "forward", small)
    made = generate(pair.lines, asked, PAIR, pair.ends)
    assert made.cuts > 0
    assert [one.ids for one in made.answers] == wanted


@ONE
def test_answers_end_at_end_tokens_stop_texts_and_the_limit(pair: Pair, asked: list[Asked]) -> None:
    long = generate(pair.alone("base"), asked[1:2], GREEDY, pair.ends).answers[0]
    assert long.ended == "limit"
    ends = replace(pair.ends, tokens=frozenset({long.ids[2]}))
    first = long.ids.index(long.ids[2])
    token = generate(pair.alone("base"), asked[1:2], GREEDY, ends).answers[0]
    assert (token.ended, token.ids) == ("end_token", long.ids[: first + 1])
    assert Endings(build_tokenizer(), frozenset(), ("\n",)).text([3, 40, 97, 41]) == "!F"
    assert Endings(build_tokenizer(), frozenset(), ("\n",)).ended([40, 97]) == "stop"


def test_plausibility_keeps_the_best_and_leaves_impossible_tokens_out() -> None:
    logs = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert plausible(logs, 0.5).tolist() == [True, True, False, False]
    assert plausible(logs, 1.0).tolist() == [True, False, False, False]
    never = torch.tensor([0.6, 0.4, 0.0]).log()
    found = combine(
        {"base": never, "positive": never, "negative": never}, Contrast(2.0, plausibility=0.0)
    )
    assert torch.allclose(found.exp(), torch.tensor([0.6, 0.4, 0.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contrast(float("nan")), "alpha is a finite number"),
        (lambda: Contrast(1.0, 1.5), "plausibility is a share"),
        (lambda: Decoding(new_tokens=0), "0 new tokens"),
        (lambda: Decoding(temperature=0.0), "the temperature is 0.0"),
        (lambda: check_room([3, 9], 8, 16), "the longest prompt has 9 tokens and 8 may follow"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@ONE
def test_an_update_of_another_size_is_refused(pair: Pair) -> None:
    module, (b, a, scaling) = next(iter(pair.updates["positive"].items()))
    with pytest.raises(CheckpointError, match=f"the update of {module} is"):
        Lines(pair.base, {"positive": {module: (b[1:], a, scaling)}})
    with pytest.raises(CheckpointError, match="the base model has no module nowhere"):
        Lines(pair.base, {"positive": {"nowhere": (b, a, scaling)}})
