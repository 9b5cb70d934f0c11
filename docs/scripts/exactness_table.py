"""Print the tables of docs/exactness.md: how far collected values are from the naive reference.

`.venv/bin/python docs/scripts/exactness_table.py` takes about a minute on one core. The
reference, the tiny models and the comparison are those of the tests (tests/probes/
test_exactness*.py), which hold the same numbers to the tolerance.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from exactness import TOLERANCE, Case, Difference, collect_case, differences
from naive_reference import read_rows
from tiny_families import CONFIGS
from tiny_plan import save_adapters
from tiny_variants import save_variant, variants

QUANTITIES = {
    "residual": ("residual",),
    "attention": ("attention_row", "pattern"),
    "summaries": ("attention_summary/",),
    "sparsity": ("sparsity",),
    "kurtosis, l1": ("sparsity kurtosis, l1",),
    "log-probability": ("logprob_sum", "first_token_logprob"),
}
"""Column -> the quantities it sums up; a slash at the end stands for all that begin so."""
Found = dict[str, Difference]


def compare(case: Case, sides: Sequence[str]) -> Iterator[Found]:
    """Compare the base and every adapter with rows alone, and one adapter with padded rows."""
    base = read_rows(case.fresh(0), case.plan)
    for unit in range(len(case.units)):
        model = case.fresh(unit)
        for side in ("alone", *(sides if unit == 1 else ())):
            yield differences(case, unit, read_rows(model, case.plan, side), base)


def cells(found: Sequence[Found]) -> list[str]:
    """Write the largest difference of each column, and the largest residual."""
    made = []
    for names in QUANTITIES.values():
        exact = {name for name in names if not name.endswith("/")}
        exact |= {f"{name} (alone)" for name in exact}
        begins = tuple(name for name in names if name.endswith("/"))
        chosen = [
            one
            for each in found
            for name, one in each.items()
            if name in exact or (begins and name.startswith(begins))
        ]
        worst = max(chosen, key=lambda one: one.share)
        assert worst.share <= TOLERANCE, (names, worst)
        made.append(f"{max(one.largest for one in chosen):.1e}")
    share = max(one.share for each in found for one in each.values())
    return [*made, f"{share:.1e}"]


def family_row(family: str) -> str:
    """Collect a family in the layout its gates choose, and in single rows padded to a batch."""
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        series = save_adapters(Path(folder) / "heads", family)
        case = collect_case(Path(folder) / "auto", family, series, alone=True)
        found += compare(case, ("left", "right"))
        found += compare(collect_case(Path(folder) / "naive", family, series, "naive"), ())
    return line([family, case.layout, case.attention_way, *cells(found)])


def variant_row(family: str, variant: str) -> str:
    """Collect two adapters of one variant in turn."""
    with tempfile.TemporaryDirectory() as folder:
        series = save_variant(Path(folder) / "heads", family, variant, (1, 2))
        case = collect_case(Path(folder) / "run", family, series)
        merged = "merged" if case.attributes(1)["merged"] else "beside"
        found = list(compare(case, ("left", "right")))
    return line([family, variant, merged, *cells(found)])


def line(values: Sequence[str]) -> str:
    """Write one line of a table."""
    return f"| {' | '.join(values)} |"


def table(head: Sequence[str], rows: Iterator[str]) -> None:
    """Print a table line by line."""
    head = [*head, *QUANTITIES, "largest share"]
    print(line(head))
    print(line(["---"] * len(head)))
    for row in rows:
        print(row, flush=True)


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore")  # of PEFT, about variants
    torch.set_num_threads(1)
    print(f"Tolerance: {TOLERANCE:.0e} of the largest value, or of 1 where that is smaller.\n")
    table(["family", "layout", "attention"], map(family_row, CONFIGS))
    print()
    pairs = [(family, name) for family in ("llama", "gpt2") for name in variants(family)]
    table(["family", "variant", "adapter"], (variant_row(*pair) for pair in pairs))


if __name__ == "__main__":
    main()
