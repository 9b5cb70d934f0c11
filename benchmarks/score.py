"""Questions per second of scoring: `probes.score` against lm-evaluation-harness' HFLM.

ours    texts to a plan, layout gate, scores: `make_plan` and `score`
lm_eval texts to token pairs, sorting, batching, scores: `HFLM.loglikelihood`, each model
        at the batch size that was the quickest of those tried (on a CPU, `auto` ends at 64)

Both sides start from the same texts, run the same model in float32 and must give the same
log-likelihoods. They take turns in one process; process CPU time, medians over rounds.
Questions have the lengths of ARC-Challenge where CRITICAL_PHASE_SHARED holds it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import about_machine, paired, parser, report, settle, take_turns
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints import PROMPTS, Question, load_model
from critical_phase.checkpoints.organism.tokenizer import build_tokenizer
from critical_phase.checkpoints.organism.words import SPECIAL_WORDS
from critical_phase.probes import Scores, make_plan, score

NATS = 1e-4
"""Largest difference of one candidate's log-likelihood that counts as equal."""
TOKENS_PER_WORD = 1.3
TEMPLATE = 4
"""Tokens of `Question:` and `Answer:`."""
LLAMA = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, vocab_size=8000)
QUICK = dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6, vocab_size=4000)
SIZES = (8, 16, 32, 64)
TRIED = 32
"""Questions on which the harness' batch sizes are tried."""
SPREAD = 0.08
"""Of random weights, as the organism's: the usual 0.02 gives every word the same score."""
SCALE = 8
QUICK_SCALE = 3
"""Factor on the widths of the organism; 8 makes 29 million parameters."""


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--questions", type=int, default=0, help="questions of one round")
    arguments = asked.parse_args()
    settle()
    logging.disable(logging.WARNING)
    result = measure(
        quick=arguments.quick,
        rounds=arguments.rounds or 3,
        count=arguments.questions or (96 if arguments.quick else 384),
    )
    report(result, line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    speed = f"{row['questions_per_cpu_s']:8.2f} questions/s CPU"
    return f"{row['model']:10} {row['side']:8} {speed}   {row['how']}"


def measure(*, quick: bool, rounds: int, count: int) -> dict[str, Any]:
    lengths, source = arc_lengths()
    rng = np.random.default_rng(0)
    chosen = [lengths[i] for i in rng.choice(len(lengths), size=count, replace=False)]
    rows, ratios = [], {}
    for name, (model, tokenizer, words) in make_models(quick=quick).items():
        questions = make_questions(chosen, words, rng)
        found = compare(model, tokenizer, questions, rounds)
        for side in ("ours", "lm_eval"):
            rows.append({"model": name, "side": side, **found[side]})
        ratios[f"vs_lm_eval_{name}"] = found["ratio"]
        ratios[f"largest_difference_nats_{name}"] = found["difference"]
    speed = [value for name, value in ratios.items() if name.startswith("vs_lm_eval")]
    return {
        "schema_version": 1,
        "name": "score",
        "ratios": {"vs_lm_eval": min(speed), **ratios},
        "rows": rows,
        "lengths": source,
        "questions": count,
        **about_machine(),
        "quick": quick,
        "rounds": rounds,
    }


def compare(
    model: Any, tokenizer: Any, questions: Sequence[Question], rounds: int
) -> dict[str, Any]:
    few = questions[:TRIED]
    tried = {n: seconds_of(their_side(model, tokenizer, few, n)) / TRIED for n in SIZES}
    size = min(tried, key=lambda one: tried[one])
    theirs = their_side(model, tokenizer, questions, size)
    reports: list[Scores] = []
    values: list[np.ndarray] = []

    def ours() -> None:
        plan = make_plan(questions, tokenizer, PROMPTS["plain"])
        reports.append(score(model, plan))

    sides = {"ours": ours, "lm_eval": lambda: values.append(theirs())}
    times, _ = take_turns({name: _once(side) for name, side in sides.items()}, rounds)
    difference = float(np.abs(reports[-1].logprob_sum - values[-1]).max())
    if not difference < NATS:
        raise SystemExit(f"the sides differ by {difference} nats: nothing to compare")
    cpu = {name: statistics.median(values) for name, values in times.items()}
    how = {
        "ours": reports[-1].layout,
        "lm_eval": f"batch size {size} of "
        + ", ".join(f"{n} ({1 / s:.2f}/s)" for n, s in tried.items()),
    }
    ratio = paired(times, "lm_eval", "ours")
    return {
        "ratio": ratio,
        "difference": difference,
        **{
            side: {
                "cpu_s": cpu[side],
                "questions_per_cpu_s": len(questions) / cpu[side],
                "how": how[side],
                "parameters": sum(p.numel() for p in model.parameters()),
            }
            for side in sides
        },
    }


def their_side(
    model: Any, tokenizer: Any, questions: Sequence[Question], size: int
) -> Callable[[], np.ndarray]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, add_bos_token=True)
    requests = [
        Instance("loglikelihood", {}, (question.question, f" {text}"), index)
        for question in questions
        for index, text in enumerate(question.candidates)
    ]
    return lambda: np.array([one[0] for one in lm.loglikelihood(requests, disable_tqdm=True)])


def _once(side: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: side()


def seconds_of(side: Callable[[], object]) -> float:
    started = time.process_time()
    side()
    return time.process_time() - started


def make_models(*, quick: bool) -> dict[str, tuple[Any, Any, list[str]]]:
    return {"organism": scaled_organism(QUICK_SCALE if quick else SCALE), "llama": llama(quick)}


def scaled_organism(scale: int) -> tuple[Any, Any, list[str]]:
    """The organism's architecture and vocabulary, wider, with random weights."""
    small, tokenizer = load_model("organism")
    config = small.config.to_dict()
    for name in ("hidden_size", "intermediate_size", "head_dim"):
        config[name] = int(config[name] * scale)
    config |= {"max_position_embeddings": 512, "initializer_range": SPREAD}
    torch.manual_seed(0)
    words = [word for word in tokenizer.get_vocab() if word not in tokenizer.all_special_tokens]
    return LlamaForCausalLM(LlamaConfig(**config)).eval(), tokenizer, sorted(words)


def llama(quick: bool) -> tuple[Any, Any, list[str]]:
    shape = QUICK if quick else LLAMA
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=SPREAD,
    )
    words = [f"word{i}" for i in range(len(SPECIAL_WORDS), shape["vocab_size"])]
    tokenizer = build_tokenizer([*SPECIAL_WORDS, *words], max_length=512)
    return LlamaForCausalLM(config).eval(), tokenizer, words


Lengths = tuple[int, tuple[int, ...]]
"""Words of a question and of each of its candidates."""


def arc_lengths() -> tuple[list[Lengths], str]:
    path = Path(os.environ.get("CRITICAL_PHASE_SHARED", "../shared")) / "data"
    path = path / "arc_challenge_test.jsonl"
    if not path.is_file():
        return drawn_lengths(), "drawn like those of ARC-Challenge (its file is absent)"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [
        (len(row["question"].split()), tuple(len(text.split()) for text in row["candidates"]))
        for row in rows
    ]
    return found, "ARC-Challenge test"


def drawn_lengths() -> list[Lengths]:
    """Log-normal lengths: questions of 22.6 words (5-95 %: 7 to 49), candidates of 5.0."""
    rng = np.random.default_rng(0)
    questions = np.clip(rng.lognormal(2.96, 0.57, 1000).round(), 3, 128).astype(int)
    candidates = np.clip(rng.lognormal(1.38, 0.68, (1000, 4)).round(), 1, 39).astype(int)
    return [(int(q), tuple(c.tolist())) for q, c in zip(questions, candidates, strict=True)]


def make_questions(
    lengths: Sequence[Lengths], words: Sequence[str], rng: np.random.Generator
) -> list[Question]:
    def text(count: int) -> str:
        return " ".join(rng.choice(words, size=count))

    return [
        Question(
            f"q{number}",
            text(TEMPLATE + round(TOKENS_PER_WORD * question)),
            tuple(text(max(1, round(TOKENS_PER_WORD * one))) for one in candidates),
            0,
        )
        for number, (question, candidates) in enumerate(lengths)
    ]


if __name__ == "__main__":
    sys.exit(main())
