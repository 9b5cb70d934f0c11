"""The same rows read with another text before the answer: what is left without the question.

An answer that is likely on its own, or after any question, is likely for its style; the
difference to the row with its own question is what the question adds.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints import PromptFormat, Question
from critical_phase.errors import ConfigError
from critical_phase.probes.plan import Plan, make_plan

FILLER = (
    "This part of the text says nothing about the matter at hand and is here only to take up "
    "the same room, so that what follows comes as late as it would otherwise."
)
"""Repeated and cut to length by `filler`."""
AGAIN = "again"
"""The context that changes nothing but how rows are laid out: a second scoring."""
SCALED = "scaled"
"""The kind of context that changes nothing but the size of the adapter's update."""
_AGAIN = re.compile(r"again(?:-(float32|float64))?")
_SCALED = re.compile(r"scaled-(?=.*[1-9])(\d+(?:\.\d+)?)")
_SHOTS = re.compile(r"shots-(\d+)(?:@(\d+))?")
_BLANK_LINE = "\n\n"


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """What a context may use to write the text before each answer."""

    name: str
    """As asked for, such as `shots-25@1234`."""
    questions: tuple[Question, ...]
    """Whose candidates are scored."""
    train_questions: tuple[Question, ...]
    """Where demonstrations come from."""
    tokenizer: PreTrainedTokenizerBase
    style: PromptFormat
    seed: int
    """Of the draws that have no seed of their own in the name."""
    premise: str | None
    """Domain premise; None for that of the prompt format."""

    def length(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(_ids(self.tokenizer, text))


Context = Callable[[ContextRequest], list[str]]


def context_plan(
    name: str,
    questions: Sequence[Question],
    train_questions: Sequence[Question],
    tokenizer: PreTrainedTokenizerBase,
    prompt_format: PromptFormat,
    seed: int = 0,
    *,
    premise: str | None = None,
) -> Plan:
    """Make the plan of a context: the rows of `make_plan` with another text before them.

    Candidates keep the tokens that they have after their own question, so that two
    contexts differ in what is given and in nothing that is scored.

    Args:
        name: One of `CONTEXTS`; `again-float64` computes the run's own rows in that type;
            `scaled-2` reads them under adapters whose update is doubled; `shots` is written
            `shots-5` for the first five training questions, `shots-25@1234` for 25 drawn with
            that seed.
        questions: Those of the main plan, in its order.
        train_questions: Where demonstrations come from; needed by `shots` alone.
        tokenizer: Of the base model.
        prompt_format: That of the main plan.
        seed: Of the draw of other questions in `shuffled`.
        premise: Text of `domain`, in place of the prompt format's own.

    Raises:
        ConfigError: No such context, or the questions cannot supply it.
    """
    own = make_plan(questions, tokenizer, prompt_format)
    named = f"{prompt_format.name}/{name}"
    if context_kind(name) in (AGAIN, SCALED):
        return replace(own, prompt_format=named)
    request = ContextRequest(
        name, tuple(questions), tuple(train_questions), tokenizer, prompt_format, seed, premise
    )
    texts = CONTEXTS[context_kind(name)](request)
    start = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
    known = {text: start + _ids(tokenizer, text) for text in dict.fromkeys(texts)}
    if () in known.values():
        raise ConfigError(
            f"context {name!r} puts nothing before the answer, "
            "and the tokenizer has no begin-of-sequence token",
            fix="set bos_token in the tokenizer, or leave this context out",
        )
    prompts = tuple(known[text] for text in texts)
    return replace(own, prompts=prompts, prompt_format=named, asked=())


def context_kind(name: str) -> str:
    """Return the entry of `CONTEXTS` that a name asks for.

    Raises:
        ConfigError: No context has this name.
    """
    kinds = {"shots": _SHOTS, SCALED: _SCALED, AGAIN: _AGAIN}
    kind = next((kind for kind, form in kinds.items() if form.fullmatch(name)), name)
    if kind not in CONTEXTS or name in (SCALED, "shots"):
        known = [one for one in CONTEXTS if one not in (SCALED, "shots")]
        known += ["again-float32", "again-float64", "scaled-ALPHA", "shots-K", "shots-K@SEED"]
        raise ConfigError(f"no context {name!r}", fix=f"choose from {', '.join(known)}")
    return kind


def again(request: ContextRequest) -> list[str]:
    """Give every question its own text: the rows are those of the run.

    What `probe collect --contexts again` changes is the layout and the batch, so what
    differs from the run's own scores is the noise of computing them.
    """
    return [request.style.prompt(question.question) for question in request.questions]


def adapter_scale(name: str) -> float:
    """Return what a context multiplies adapters by: 2 of `scaled-2`, 1 of all others."""
    found = _SCALED.fullmatch(name)
    return float(found[1]) if found else 1.0


def compute_type(name: str) -> Literal["own", "float32", "float64"]:
    """Return the type that a context computes in: float64 of `again-float64`, else the run's."""
    found = _AGAIN.fullmatch(name)
    kind = found and found[1]
    return "float64" if kind == "float64" else "float32" if kind == "float32" else "own"


def answer_only(request: ContextRequest) -> list[str]:
    """Give nothing but the begin-of-sequence token."""
    return [""] * len(request.questions)


def domain(request: ContextRequest) -> list[str]:
    """Give the words that stand before every answer of the format and of no one question.

    The domain premise of PMI_DC: log P(a | question) - log P(a | premise). For `cloze` it
    is `Answer:`; `plain` has no such words, so its premise is empty and the answer stands
    alone after the begin-of-sequence token.

    Reference:
        Holtzman et al. (2021), https://arxiv.org/abs/2104.08315, section 3.
    """
    own = request.style.template.rpartition("{question}")[2].strip()
    return [own if request.premise is None else request.premise] * len(request.questions)


def shuffled(request: ContextRequest) -> list[str]:
    """Give the text of another question, each text as often as it occurs.

    Raises:
        ConfigError: One text is so frequent that some question would meet its own again.
    """
    texts = [question.question for question in request.questions]
    kinds = sorted(set(texts))
    largest = max(texts.count(kind) for kind in kinds)
    if 2 * largest > len(texts):
        raise ConfigError(
            f"context {request.name!r}: {largest} of {len(texts)} questions have one text "
            f"({kinds[0] if len(kinds) == 1 else max(kinds, key=texts.count)!r}), "
            "so they cannot all be given another's",
            fix="leave this context out, or use questions with texts of their own",
        )
    rng = np.random.default_rng([request.seed, 11])
    rank = dict(zip(kinds, rng.permutation(len(kinds)).tolist(), strict=True))
    order = sorted(rng.permutation(len(texts)).tolist(), key=lambda index: rank[texts[index]])
    # Equal texts are neighbours in this circle and no run of them is longer than the turn.
    given = dict(zip(order, order[largest:] + order[:largest], strict=True))
    return [request.style.prompt(texts[given[index]]) for index in range(len(texts))]


def filler(request: ContextRequest) -> list[str]:
    """Give words without a bearing, as near to the question's number of tokens as they come.

    Raises:
        ConfigError: A question has no text whose length could be met, or the tokenizer
            does not know the words.
    """
    texts = [question.question for question in request.questions]
    if "" in texts:
        raise ConfigError(
            f"context {request.name!r}: question "
            f"{request.questions[texts.index('')].id!r} has no text, so no length to fill",
            fix="leave this context out, or use questions with texts",
        )
    if 2 * len(set(_ids(request.tokenizer, FILLER))) < len(set(FILLER.split())):
        raise ConfigError(
            f"context {request.name!r}: the tokenizer does not know the words of the filler",
            fix="leave this context out; shuffled gives other words of the same kind",
        )
    wanted = [request.length(text) for text in texts]
    words, made, lengths = FILLER.split(), [""], [0]
    while lengths[-1] < max(wanted):
        made.append(f"{made[-1]} {words[(len(made) - 1) % len(words)]}".strip())
        lengths.append(request.length(made[-1]))
    sizes = np.array(lengths[1:])
    nearest = [1 + int(np.abs(sizes - length).argmin()) for length in wanted]
    return [request.style.prompt(made[index]) for index in nearest]


def shots(request: ContextRequest) -> list[str]:
    """Give demonstrations and then the question, all joined by a blank line.

    `shots-5` shows the first five training questions with their right answers, as
    lm-evaluation-harness does with `sampler: first_n`. `shots-25@1234` draws once with
    that seed and shows the same 25 before every question; the harness' default sampler
    draws anew for every question, so its numbers agree with these up to that draw.

    Raises:
        ConfigError: Fewer training questions than demonstrations asked for, or none; or a
            demonstration is one of the questions that are scored.
    """
    shown = demonstrations(request.name, request.train_questions)
    _refuse_answers(request, shown)
    style = request.style
    before = "".join(
        style.prompt(q.question) + style.continuation(q.question, q.right) + _BLANK_LINE
        for q in shown
    )
    return [before + style.prompt(question.question) for question in request.questions]


def _refuse_answers(request: ContextRequest, shown: Sequence[Question]) -> None:
    """Refuse demonstrations that give the answer away."""
    asked = {(q.question, q.right) for q in request.questions}
    seen = [q.id for q in shown if (q.question, q.right) in asked]
    if seen:
        raise ConfigError(
            f"context {request.name!r} shows {len(seen)} of the questions that are scored, "
            f"first {seen[0]!r}",
            fix="draw with another seed, or give other training questions",
        )


def demonstrations(name: str, train_questions: Sequence[Question]) -> tuple[Question, ...]:
    """Return the training questions that `shots-K` or `shots-K@SEED` shows, in order.

    Raises:
        ConfigError: Fewer training questions than demonstrations asked for, or none.
    """
    found = _SHOTS.fullmatch(name)
    assert found is not None
    count, available = int(found[1]), len(train_questions)
    if not 1 <= count <= available:
        raise ConfigError(
            f"context {name!r} asks for {count} demonstrations of {available} training questions",
            fix=f"give a number from 1 to {available}" if available else "give training questions",
        )
    if found[2] is None:
        return tuple(train_questions[:count])
    chosen = np.random.default_rng(int(found[2])).choice(available, size=count, replace=False)
    return tuple(train_questions[index] for index in chosen.tolist())


CONTEXTS: dict[str, Context] = {
    AGAIN: again,
    SCALED: again,
    "answer_only": answer_only,
    "domain": domain,
    "shuffled": shuffled,
    "filler": filler,
    "shots": shots,
}


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    if not text:
        return ()
    return tuple(int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"])
