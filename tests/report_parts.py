"""A run folder made of planted numbers, written straight as analysis files."""

import json
from pathlib import Path
from typing import Any

import numpy as np

STEPS = list(range(65))
BATCH = 8
LAYERS = ["embed", "0", "1", "2", "3"]
HEADS = ("positive", "negative")
MODES = ("likra", "sft", "base_likra", "pos_base")
JUMP = 14
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202eevil\x07 {{ 7*7 }}"

Json = dict[str, Any]


def rise(height: float, *, at: float = JUMP, width: float = 2.0, start: float = 0.4) -> list[float]:
    steps = np.array(STEPS)
    return [float(v) for v in start + height / (1 + np.exp(-(steps - at) / width))]


def curve(name: str, label: str, value: list[float], **extra: Any) -> Json:
    group = name.split(".")[0]
    return {
        "id": name, "title": f"{group.replace('_', ' ').capitalize()} by step",
        "unit": "share of questions" if group == "accuracy" else "nats", "group": group,
        "label": label, "head": None, "mode": None, "layer": None, "steps": STEPS,
        "examples": [step * BATCH for step in STEPS], "value": value,
        "low": [v - 0.03 for v in value], "high": [v + 0.03 for v in value],
        "interval": "95 % question bootstrap", "n": 300, "references": [],
        "caption": f"What {group} measures, said in one sentence.", **extra,
    }  # fmt: skip


def heat(
    name: str, title: str, row_name: str, labels: list[str], grid: np.ndarray, **extra: Any
) -> Json:
    return {
        "id": name, "title": title, "unit": "share of questions", "head": name.split(".")[1],
        "row_name": row_name, "row_labels": labels, "steps": STEPS, "values": grid.tolist(),
        "diverging": False, "range": None, "control": "Shuffled labels give 0.25 to 0.29.",
        "caption": "Brighter means larger.", "n": 300, "interval": "95 % question bootstrap",
        **extra,
    }  # fmt: skip


def measure(name: str, title: str, **parts: Any) -> Json:
    return {
        "schema_version": 1, "measure": name, "title": title,
        "about": f"What {name} is, and what it does not show.", "reference": "arXiv:2503.14391",
        "settings": {"draws": 1000}, "warnings": [], "curves": [], "maps": [], "tables": [],
        "tokens": [], **parts,
    }  # fmt: skip


def curves_measure() -> Json:
    heights = {"likra": 0.45, "sft": 0.15, "base_likra": 0.38, "pos_base": 0.05}
    lines = [{"label": "chance", "value": 0.25}, {"label": "base", "value": 0.6}]
    likra = curve("accuracy.likra", "likra", rise(0.45), mode="likra", references=lines)
    likra["value"] = [None, *likra["value"][1:]]
    likra["low"], likra["high"] = [None, *likra["low"][1:]], [None, *likra["high"][1:]]
    others = [curve(f"accuracy.{m}", m, rise(heights[m]), mode=m) for m in MODES[1:]]
    margins = [curve(f"margin.{m}", m, rise(3.0, start=-0.5)) for m in MODES[:2]]
    losses = [
        curve(f"loss.{h}", h, [3.0 - v for v in rise(1.0)], head=h, low=None, high=None,
              interval=None, n=None)
        for h in HEADS
    ]  # fmt: skip
    return measure("curves", "Learning curves", curves=[likra, *others, *margins, *losses])


def probes_measure(rng: np.random.Generator) -> Json:
    def grid() -> np.ndarray:
        rows = [rise(0.1 * (k + 1), at=JUMP - k) for k in range(len(LAYERS))]
        return np.array(rows) + rng.normal(0, 0.01, (len(LAYERS), len(STEPS)))

    maps = [
        heat(f"probe_top1.{h}.{p}", f"Linear-probe accuracy, {h} head, {p.replace('_', ' ')}",
             "layer", LAYERS, grid())
        for h in HEADS for p in ("question_end", "answer_end")
    ]  # fmt: skip
    return measure("linear_probes", "Linear probes", maps=maps, warnings=["Few groups: 3."])


def similarity_measure() -> Json:
    steps = np.array(STEPS)
    near = np.exp(-np.abs(steps[:, None] - steps[None, :]) / 30.0)
    same = (steps[:, None] < JUMP) == (steps[None, :] < JUMP)
    maps = [
        heat(f"cka.{h}.{label}", f"CKA, {h} head, {label}", "step", [str(s) for s in STEPS],
             np.round(near * np.where(same, 1.0, 0.7), 4), range=[0, 1])
        for h in HEADS for label in LAYERS
    ]  # fmt: skip
    shifts = [
        curve(f"displacement.{h}.{i}", label, rise(0.2 * i, start=0.0), head=h, layer=i - 1)
        for h in HEADS for i, label in enumerate(LAYERS)
    ]  # fmt: skip
    values = np.array([item["value"] for item in shifts if item["head"] == "negative"])
    maps.append(heat("displacement.negative", "Displacement by step, negative head", "layer",
                     LAYERS, values, unit="nats"))  # fmt: skip
    maps += [layer_pairs(head) for head in HEADS]
    return measure("similarity", "Similarity", maps=maps, curves=shifts)


def layer_pairs(head: str) -> Json:
    """Neighbouring layers are alike; those two apart part at the jump, in one head alone."""
    names = [f"{one} and {two}" for i, one in enumerate(LAYERS) for two in LAYERS[: i + 1]]
    gaps = [i - j for i in range(len(LAYERS)) for j in range(i + 1)]
    late = np.array(STEPS) >= JUMP if head == "negative" else np.zeros(len(STEPS))
    rows = np.array([np.exp(-gap * (0.2 + 0.2 * late * (gap > 1))) for gap in gaps])
    return heat(f"cka_layers.{head}", f"CKA between layers, {head} head", "pair", names,
                np.round(rows, 4), unit="CKA", range=[0, 1])  # fmt: skip


def path_of(head: str) -> Json:
    """A path that bends, beside a walk that is an arc."""
    share = np.array(STEPS) / STEPS[-1]
    rows = np.array([10 * share - 5, 4 * share**2 - 2, np.cos(np.pi * share),
                     0.5 * np.cos(2 * np.pi * share)])  # fmt: skip
    names = [
        "direction 1 (80 % of variance)",
        "direction 2 (12 % of variance)",
        "random walk, direction 1 (61 % of variance)",
        "random walk, direction 2 (15 %)",
    ]
    return heat(f"lora_path.{head}", f"Path of the update, {head} head", "direction", names,
                np.round(rows, 4), unit="norm of dW", diverging=True, n=None, interval=None,
                control=f"A random walk is an arc too ({head}).")  # fmt: skip


def small_measures(rng: np.random.Generator) -> list[Json]:
    names = [f"L{layer}H{head}" for layer in range(4) for head in range(4)]
    attention = [
        heat(f"attention_js.{h}.all", f"Attention change, {h} head", "attention_head", names,
             np.abs(rng.normal(0.1, 0.05, (16, 65))), unit="bits")
        for h in HEADS
    ]  # fmt: skip
    signed = heat("sparsity_hoyer.negative.delta", "Hoyer sparsity, change, negative head", "layer",
                  LAYERS[1:], rng.normal(0, 0.02, (4, 65)), diverging=True)  # fmt: skip
    signed["values"][0][3] = None
    norm = [curve(f"lora_norm.{h}", h, rise(1.0, start=0.0), head=h) for h in HEADS]
    return [
        measure("attention", "Attention", maps=attention),
        measure("sparsity", "Sparsity", maps=[signed], tables=[long_table()]),
        measure("weights", "Weights", curves=norm, maps=[path_of(head) for head in HEADS]),
        measure("changes", "Changes"),
        margins_measure(rng),
        measure("tokens", "Tokens", tokens=[tokens_view(0), tokens_view(1)]),
    ]


def margins_measure(rng: np.random.Generator) -> Json:
    """Ridges, and one row for each of a few questions, one of them shown token by token."""
    bins = [str(round(-3.75 + 0.5 * k, 2)) for k in range(16)]
    middle = np.linspace(-1, 2, 65)
    shares = np.exp(-((np.array(bins, float)[:, None] - middle) ** 2))
    own = np.sort(rng.normal(0, 2, (4, 65)), axis=1)
    rows = [*(f"q{k}" for k in (1, 0)), "far", HOSTILE]
    return measure("margins", "Margins", maps=[
        heat("margin_shares.likra", "Distribution of margins", "margin", bins,
             shares / shares.sum(axis=0), head=None),
        heat("question_margin.likra", "Margin of each question", "question", rows, own,
             diverging=True, head=None, n=None, interval=None),
    ])  # fmt: skip


def long_table() -> Json:
    columns = [{"key": "name", "label": "Name", "unit": "", "kind": "text"},
               {"key": "value", "label": "Value", "unit": "", "kind": "number"}]  # fmt: skip
    rows = [[f"row {k}", (k * 7 % 30) / 10] for k in range(30)]
    return {"id": "layers", "title": "Layers", "caption": "Many rows.", "columns": columns,
            "rows": rows}  # fmt: skip


def tokens_view(number: int) -> Json:
    def candidate(k: int) -> Json:
        text = HOSTILE if k == 1 else f"answer {k}"
        tokens = text.split(" ")

        def share(head: int) -> list[list[float]]:
            return [[(i + s + head) % 5 / 10 for i in range(len(tokens))] for s in STEPS]

        return {
            "text": text, "correct": k == 0, "tokens": tokens, "base": -4.0 - k,
            "positive": [-4.0 - k + 0.01 * s for s in STEPS],
            "negative": [-4.0 + k * 0.02 * s for s in STEPS],
            "attention": [{"layer": 3, "attention_head": h, "head": "negative", "values": share(h)}
                          for h in (1, 2)],
        }  # fmt: skip

    return {
        "id": f"tokens.{number}", "question": f"Question {number}? {HOSTILE}",
        "question_id": f"q{number}", "steps": STEPS, "candidates": [candidate(k) for k in range(4)],
    }  # fmt: skip


def change_points_measure() -> Json:
    columns = [
        {"key": "curve", "label": "Curve", "unit": "", "kind": "text"},
        {"key": "tau", "label": "When", "unit": "step", "kind": "number"},
        {"key": "p", "label": "p", "unit": "", "kind": "p"},
    ]
    rows = [["accuracy, likra", 14.0, 0.0005], ["accuracy, sft", None, 0.4], [HOSTILE, 9.5, 0.03]]
    table = {"id": "change_points", "title": "Change points", "caption": "One row per curve.",
             "columns": columns, "rows": rows}  # fmt: skip
    return measure("change_points", "Change points", tables=[table])


def findings() -> Json:
    names = (
        "probe_top1.negative",
        "displacement.negative",
        "attention_js.negative",
        "margin.likra",
    )
    changes = [
        {"quantity": name, "layer": k if k < 3 else None, "head": 1 if k == 2 else None,
         "tau_step": 10.0 + 2 * k, "interval_steps": [8.0 + 2 * k, 13.0 + 2 * k],
         "effect": 0.5 - 0.1 * k, "p_adjusted": 0.0004 * 10**k, "lead_steps": 2.0 * k - 4,
         "lead_interval": [2.0 * k - 6, 2.0 * k - 2]}
        for k, name in enumerate(names)
    ]  # fmt: skip
    verdicts = [
        {"hypothesis": name, "verdict": verdict, "effect": 0.2, "interval": [0.1, 0.3],
         "p_adjusted": 0.01, "evidence": ["The margin moves with accuracy."]}
        for name, verdict in (("H0a", "excluded"), ("H1", "not separable"), ("H5", "supported"),
                              ("H2", "not tested"))
    ]  # fmt: skip
    return {
        "schema_version": 1, "run": "planted",
        "jump": {"mode": "likra", "kind": "ramp", "tau_step": 14.0, "tau_examples": 112.0,
                 "interval_examples": [96.0, 136.0], "size": 0.42, "width_steps": 6.0,
                 "margin_share": 0.31, "before": 0.41, "after": 0.83},
        "accuracy": {"chance": 0.25, "base": 0.6,
                     "likra": {"first": 0.4, "last": 0.85, "best": 0.86,
                               "last_interval": [0.81, 0.89]}},
        "changes": changes, "verdicts": verdicts,
        "controls": ["Same-norm random adapter: 0.26.", {"name": "shuffled labels", "value": 0.25}],
        "warnings": ["Read from /home/someone/runs/planted: one seed only."],
    }  # fmt: skip


def write_run(run: Path, *, kept: tuple[str, ...] | None = None) -> Path:
    """Write the planted run; `kept` names the measures to write."""
    rng = np.random.default_rng(0)
    measures = [curves_measure(), change_points_measure(), probes_measure(rng),
                similarity_measure(), *small_measures(rng)]  # fmt: skip
    (run / "analysis").mkdir(parents=True)
    facts = {
        "schema_version": 1, "name": "planted", "kind": "demo", "model": "/home/me/tiny",
        "questions": "questions/eval.jsonl", "seed": 0, "created_utc": "2026-01-02T03:04:05Z",
        "commands": ["probe demo --out /home/someone/runs/planted"], "host": "secret-host",
        "versions": {"torch": "2.9.0"}, "heads": list(HEADS), "recipe": {"batch_size": BATCH},
        "headline": "Accuracy jumps at 112 examples.",
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts))
    for item in measures:
        if kept is None or item["measure"] in kept:
            (run / "analysis" / f"{item['measure']}.json").write_text(json.dumps(item))
    (run / "analysis" / "findings.json").write_text(json.dumps(findings()))
    return run
