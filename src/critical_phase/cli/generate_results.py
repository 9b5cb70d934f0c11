"""Turn what `probe generate` counted into files and printed lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from critical_phase.analysis.inference.accuracy_interval import JOINED
from critical_phase.analysis.inference.paired_share import PAIRED
from critical_phase.analysis.interventions.generation import CATEGORIES, GenerationResult, Share
from critical_phase.cli.generate_cells import MASKED, Cell


def summary_values(
    done: GenerationResult, cells: Sequence[tuple[Cell, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return the counts of every way, and the differences that are reported."""
    told = {cell.name: about for cell, about in cells}
    return {
        "reported_on": "questions with odd numbers; alpha is chosen on those with even numbers",
        "questions_exploratory": done.exploratory,
        "questions_confirmatory": done.summaries[0].questions,
        "interval": JOINED,
        "difference_interval": PAIRED,
        "ways": [
            {
                "name": one.name,
                "mode": one.mode,
                "alpha": one.alpha,
                "answers_per_question": one.draws,
                "shares": {name: _share(share) for name, share in one.shares.items()},
                "tokens": _share(one.tokens),
                "at_limit": _share(one.limited),
                "right_exploratory": done.exploratory_right[one.name],
                "chosen": done.chosen[one.mode] == one.name,
                **_kept(told[one.name]),
            }
            for one in done.summaries
        ],
        "differences": {
            mode: {"way": done.chosen[mode], **{other: asdict(gap) for other, gap in gaps.items()}}
            for mode, gaps in done.differences.items()
        },
    }


def table_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """Write the table of one step."""
    yield (
        f"step {values['step']}, {values['questions_confirmatory']} questions that report "
        f"({values['questions_exploratory']} chose alpha):"
    )
    yield (
        f"  {'way':<16} {'right [95 %]':<18}"
        + "".join(f"{n:>9}" for n in CATEGORIES[1:])
        + (f"{'tokens':>9}{'at limit':>9}")
    )
    for one in values["ways"]:
        shares = one["shares"]
        low, high = shares["right"]["interval"]
        right = f"{shares['right']['value']:.3f} [{low:.2f}, {high:.2f}]"
        mark = "*" if one["chosen"] and one["alpha"] is not None else ""
        yield (
            f"  {one['name'] + mark:<16} {right:<18}"
            + "".join(f"{shares[name]['value']:>9.3f}" for name in CATEGORIES[1:])
            + f"{one['tokens']['value']:>9.1f}{one['at_limit']['value']:>9.3f}"
        )
    if any(one["alpha"] is not None for one in values["ways"]):
        yield "  * chosen on the other questions"
    if any(one["name"] == MASKED for one in values["ways"]):
        yield f"  {MASKED}: the base, tokens left out as in the contrast; alpha 0"


def merged_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """Say how far merged weights are from contrasted logits, and what truncation lost."""
    for one in values["ways"]:
        if (gap := one.get("against_contrast")) is not None:
            yield (
                f"{one['name']}: KL(contrast || merged) {gap['contrast_merged']['value']:.3g} nats "
                f"per token, KL(contrast || base) {gap['contrast_base']['value']:.3g}; same best "
                f"token at {gap['agreement']['value']:.3f} of {gap['places']} places"
            )
        if one.get("truncation_error"):
            yield (
                f"{one['name']}: rank {one['rank']} leaves out {one['truncation_error']:.3g} of "
                f"the update's norm (worst {one['truncation_worst']['module']})"
            )


def _share(one: Share) -> dict[str, Any]:
    return {"value": one.value, "interval": list(one.interval)}


def _kept(told: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "layout",
        "layout_reason",
        "cuts",
        "arrival",
        "rank",
        "truncation_error",
        "truncation_worst",
        "against_contrast",
    )
    return {name: told[name] for name in names if name in told}
