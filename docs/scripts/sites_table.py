"""Build every architecture that TransformerLens registers at a small size and print its sites.

Usage: python docs/scripts/sites_table.py [ARCHITECTURE ...]   (about a minute on one idle core)
"""

import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from tiny_architectures import tiny_architecture
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

from critical_phase.probes import (
    BASE,
    CollectSettings,
    Plan,
    Sites,
    Unit,
    check_sites,
    prove_heads,
    resolve,
)
from critical_phase.probes.bridge_backend import bridge_instrument
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.slots import ModelSlot

READ = ("attention", "attention_out", "mid", "mlp_out")
"""Parts that the table has columns for."""
PARTS = {"attention": "attention", "mlp_out": "sparsity"}


@dataclass(slots=True)
class Row:
    """What became of one architecture."""

    name: str
    outcome: str = ""
    """proved, refused, not built, not in transformers, or no decoder."""
    why: str = ""
    source: str = ""
    sites: Sites | None = None
    weights: bool = True
    """Whether attention weights can be read where attention modules are found."""
    layout: str = ""
    bridge: str = ""


def tiny_plan() -> Plan:
    """Two questions of different length with two and three answers, as token ids."""
    rng = np.random.default_rng(0)
    draw = lambda n: tuple(rng.integers(3, 120, n).tolist())  # noqa: E731
    question = np.array([0, 0, 1, 1, 1])
    return Plan(
        question_ids=("a", "b"),
        groups=("", ""),
        question_texts=("", ""),
        prompts=(draw(7), draw(12)),
        answers=tuple(draw(n) for n in (1, 3, 2, 2, 4)),
        texts=("",) * 5,
        question=question,
        candidate=np.array([0, 1, 0, 1, 2]),
        correct=np.array([True, False, False, True, False]),
        prompt_format="",
    )


def first_line(error: BaseException) -> str:
    """Shorten an error to one line of a table."""
    text = (str(error).strip().splitlines() or [""])[0].split("; its modules are")[0]
    if " do not hold what their names say: " in text:
        text = text.split(" do not hold what their names say: ")[1]
    text = text.split(" library from the ")[0]
    return f"{type(error).__name__}: {text}".replace("|", "/").strip(": ")


def examine(name: str) -> Row:
    """Build, resolve, prove, collect and bridge one architecture."""
    if getattr(transformers, name, None) is None:
        return Row(name, "not in transformers", "no class of this name")
    try:
        model = tiny_architecture(name)
    except Exception as error:
        return Row(name, "not built", first_line(error))
    if model.config.is_encoder_decoder:
        return Row(name, "no decoder", "encoder-decoder")
    if model.get_output_embeddings() is None:
        return Row(name, "no decoder", "no language-model head")
    row = Row(name)
    try:
        found = resolve(model)
        row.source = found.source
        inputs = {"input_ids": torch.tensor([[5, 9, 4, 8, 7, 3]]), "use_cache": False}
        row.sites = check_sites(model, found, inputs)
    except Exception as error:
        row.outcome, row.why = "refused", said(error)
        return row
    row.outcome = "proved"
    names = ["residual", *(kind for part, kind in PARTS.items() if getattr(row.sites, part))]
    collect_tiny(row, model, names)
    heads = getattr(model.config.get_text_config(), "num_attention_heads", 0)
    row.sites = prove_heads(model, row.sites, inputs, heads)
    return row


def collect_tiny(row: Row, model: Any, names: list[str]) -> None:
    """Read a plan with plain hooks, then through the bridge."""
    settings = CollectSettings(tuple(names))
    try:
        plain: Instrument = prepare(model, tiny_plan(), settings)
        plain.measure()
        row.layout = plain.choice.layout
    except Exception as error:
        if "attention" in names and "no attention weights" in str(error):
            row.weights = False
            collect_tiny(row, model, [name for name in names if name != "attention"])
            return
        row.layout, row.bridge = f"refused: {said(error)}", "-"
        return
    try:
        bridged = bridge_instrument(plain, ModelSlot(model, None), [Unit(BASE, 0)], settings)
        bridged.measure()
        gap = bridged.choice.reason.split("step-00000000 by ")[1].split()[0]
        row.bridge = f"{gap}{', own weights' if bridged.reboots else ''}"
    except Exception as error:
        row.bridge = f"refused: {said(error)}"


def said(error: BaseException) -> str:
    """Say what an error of ours says, and of a foreign one its class too."""
    ours = type(error).__module__.startswith("critical_phase")
    text = first_line(error)
    return text.split(": ", 1)[1] if ours else text


def mark(row: Row, part: str) -> str:
    """Mark a part as there or not."""
    assert row.sites is not None
    if part == "attention" and not row.weights:
        return "no weights"
    return "yes" if getattr(row.sites, part) else "-"


def main() -> None:
    """Print the table and the counts."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    names = sys.argv[1:] or sorted(SUPPORTED_ARCHITECTURES)
    rows = []
    for name in names:
        rows.append(examine(name))
        print(f"{name}: {rows[-1].outcome} {rows[-1].why}", file=sys.stderr)
    counts = Counter(row.outcome for row in rows)
    print(f"known {len(rows)}: " + ", ".join(f"{n} {what}" for what, n in counts.most_common()))
    proved = [row for row in rows if row.outcome == "proved"]
    for part in READ:
        print(f"{part}: {sum(mark(row, part) == 'yes' for row in proved)} of {len(proved)}")
    print(f"collected: {sum(row.layout in ('packed', 'naive') for row in proved)}")
    print(f"bridge agrees: {sum(row.bridge[:1].isdigit() for row in proved)}")
    print("\n| architecture | found by | blocks, final norm, unembed | attention | z | mid "
          "| mlp.out | rows | bridge |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for row in proved:
        parts = " | ".join(mark(row, part) for part in READ)
        source = {"transformer_lens": "TransformerLens"}.get(row.source, row.source)
        print(f"| {row.name} | {source} | proved | {parts} | {row.layout} | {row.bridge} |")
    print("\n| architecture | outcome | why |\n|---|---|---|")
    for row in rows:
        if row.outcome != "proved":
            print(f"| {row.name} | {row.outcome} | {row.why} |")


if __name__ == "__main__":
    main()
