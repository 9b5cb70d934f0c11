"""`probe generate` on a tiny run: what is stored, resumed, refused and printed."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_models import tiny_llama
from tiny_run import Outcome, Probe, write_lines

from critical_phase.checkpoints import quiet_peft

SHORT = ("--max-new-tokens", 3, "--draws", 50, "--limit", 12)


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def generated(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("generated") / "run"))


def generate(probe: Probe, run: Path, *more: object) -> Outcome:
    return probe("generate", run, *SHORT, *more)


def written(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "generation").iterdir())}


def test_every_way_is_counted_and_compared(probe: Probe, generated: Path) -> None:
    shown = generate(
        *(probe, generated, "--mode", "contrast,merged,negative", "--alpha", "0.5,2", "--json")
    )
    assert shown.code == 0, shown.err
    (found,) = json.loads(shown.out)["steps"]
    ways = {one["name"]: one for one in found["ways"]}
    pairs = [f"{mode}-a{alpha}" for mode in ("contrast", "merged") for alpha in ("0.5", "2")]
    assert list(ways) == ["base", "positive", "negative", *pairs]
    for one in ways.values():
        assert sum(s["value"] for s in one["shares"].values()) == pytest.approx(1.0, abs=1e-5)
        assert one["layout"] == "cached"
        assert one["tokens"]["value"] <= 3
    assert (found["step"], found["questions_confirmatory"], found["questions_exploratory"]) == (
        *(12, 6, 6),
    )
    gap = ways["merged-a2"]["against_contrast"]
    assert gap["contrast_merged"]["interval"][0] <= gap["contrast_merged"]["value"]
    assert set(found["differences"]) == {"base", "positive", "negative", "contrast", "merged"}
    for name in ("contrast", "merged"):
        assert {"base", "positive"} <= set(found["differences"][name])
    assert len(found["sentences"]) == 7
    assert "begins with" in found["rule"]


def test_a_second_call_decodes_only_what_is_gone(probe: Probe, run: Path) -> None:
    assert generate(probe, run, "--alpha", 1, "--sample").code == 0
    before = written(run)
    assert len([name for name in before if name.startswith("base_masked")]) == 2
    lost = next(name for name in before if name.startswith("contrast") and name.endswith(".json"))
    (run / "generation" / lost).unlink()
    again = generate(probe, run, "--alpha", 1, "--sample")
    assert again.err.count("existing") == 3
    assert written(run) == before


def test_other_settings_lie_beside_and_steps_share_the_base(probe: Probe, run: Path) -> None:
    assert generate(probe, run, "--alpha", 1, "--step", "2,12").code == 0
    first = written(run)
    assert len([n for n in first if n.startswith("base") and n.endswith("l")]) == 1
    assert len([n for n in first if n.startswith("summary")]) == 2
    assert generate(probe, run, "--alpha", 1, "--plausibility", 0).code == 0
    both = written(run)
    assert {name: both[name] for name in first} == first
    assert len(both) == len(first) + 3


def test_damaged_answers_are_refused_and_written_again_on_request(probe: Probe, run: Path) -> None:
    assert generate(probe, run, "--mode", "base").code == 0
    before = written(run)
    lines = next((run / "generation").glob("base-*.jsonl"))
    lines.write_bytes(lines.read_bytes().replace(b'"draw": 0', b'"draw": 1', 1))
    shown = generate(probe, run, "--mode", "base")
    assert shown.code == 4
    assert "its answers are not those that were described" in shown.err
    assert generate(probe, run, "--mode", "base", "--overwrite").code == 0
    assert written(run) == before


def test_texts_are_left_out_on_request(probe: Probe, run: Path) -> None:
    assert generate(probe, run, "--mode", "base", "--no-text").code == 0
    (lines,) = (run / "generation").glob("base-*.jsonl")
    texts = [json.loads(line)["text"] for line in lines.read_text().splitlines()]
    assert len(texts) == 12
    assert all(text.startswith("sha256:") for text in texts)


def test_empty_and_hostile_questions(probe: Probe, run: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"h{i}", "question": text, "candidates": ["blue", "red"], "answer": 0}
        for i, text in enumerate(("", "what\u0000 is\n<script>alert(1)</script>\u202e", "sky", " "))
    ]
    odd = write_lines(run.parent / "odd.jsonl", rows)
    shown = generate(probe, run, "--questions", odd, "--alpha", 1)
    assert shown.code == 0, shown.err
    assert "note: 2 questions without a text were left out" in shown.err
    empty = write_lines(run.parent / "empty.jsonl", [rows[0], rows[3]])
    refused = generate(probe, run, "--questions", empty)
    assert refused.code == 2
    assert "none of the 2 questions has a text" in refused.err


def test_a_merged_adapter_is_saved_for_stock_peft(probe: Probe, run: Path) -> None:
    target = run.parent / "merged"
    options = ("--mode", "merged", "--alpha", 0.5, "--rank", 1, "--save-merged", target)
    shown = generate(probe, run, *options)
    assert shown.code == 0, shown.err
    assert "rank 1, truncation error 0." in shown.err
    assert "merged-a0.5: rank 1 leaves out 0." in shown.out
    with quiet_peft():
        model: Any = PeftModel.from_pretrained(copy.deepcopy(tiny_llama()), str(target))
    ids = torch.arange(5)[None]
    with torch.no_grad():
        assert not torch.allclose(model(input_ids=ids).logits, tiny_llama()(input_ids=ids).logits)
    assert json.loads((target / "critical_phase.json").read_text())["alpha"] == 0.5
    assert f"merged adapter: existing, {target}" in generate(probe, run, *options).err
    other = generate(probe, run, *options, "--alpha", 0.7)
    assert other.code == 2
    assert "something is there already" in other.err


def test_own_prompts_are_answered_and_nothing_is_stored(probe: Probe, run: Path) -> None:
    shown = probe("generate", run, "--prompt", "the sky", "--alpha", 1, "--max-new-tokens", 2)
    assert shown.code == 0, shown.err
    assert [line.split(": ")[0] for line in shown.out.splitlines()] == [
        f"'the sky' {name}" for name in ("base", "positive", "contrast-a1")
    ]
    assert not (run / "generation").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "base,both"), "setting mode"),
        (("--rank", 2), "--rank and --save-merged are about a merged adapter"),
        (("--samples", 3), "several samples of the likeliest tokens are all the same"),
        (("--alpha", "1,1"), "give each strength once"),
        (("--step", 99), "no checkpoint at step 99"),
        (("--max-new-tokens", 500), "the model reads at most 64"),
        (("--mode", "merged", "--save-merged", "x"), "writes one adapter"),
        (("--plausibility", 2), "setting plausibility"),
    ],
)
def test_what_cannot_be_done_is_refused(
    probe: Probe, generated: Path, options: tuple[object, ...], message: str
) -> None:
    shown = probe("generate", generated, "--limit", 4, *options)
    assert shown.code == 2, shown.err
    assert message in shown.err


def test_a_pair_needs_both_heads(probe: Probe, run: Path) -> None:
    shutil.rmtree(run / "heads/negative")
    shown = generate(probe, run)
    assert shown.code == 2
    assert "mode contrast needs the negative head, the run has positive" in shown.err
    assert generate(probe, run, "--mode", "positive").code == 0
