"""Colours, dashes and number formats, the same on the page and in print."""

import base64
import hashlib
import math
import re

import matplotlib
import numpy as np
import seaborn as sns

NONE = "\u2013"
"""What stands where there is no number."""
MINUS = "\u2212"
LONGEST_NAME = 120
"""Characters of a file name before its ending, which file systems limit to 255 bytes."""
TRIM = " ,:;(-\u2013"
"""What is cut off both ends of a title."""

LINES = {
    "likra": ("#0173b2", "#5cb3e8", ()),
    "sft": ("#b35900", "#f0a04b", (6, 3)),
    "base_likra": ("#01785a", "#3fc79a", (2, 2)),
    "pos_base": ("#a04d8e", "#dd96cf", (8, 3, 2, 3)),
    "base": ("#6b6b6b", "#a8a8a8", (1, 3)),
    "positive": ("#b35900", "#f0a04b", (6, 3)),
    "negative": ("#0173b2", "#5cb3e8", ()),
}
"""Label -> colour on light, colour on dark, dashes. Seaborn's `colorblind`, darkened to 3:1."""

SPARE = (
    ("#0173b2", "#5cb3e8", ()),
    ("#b35900", "#f0a04b", (6, 3)),
    ("#01785a", "#3fc79a", (2, 2)),
    ("#a04d8e", "#dd96cf", (8, 3, 2, 3)),
    ("#8a5a2b", "#d6aa7c", (4, 2, 1, 2)),
    ("#4f4f4f", "#c4c4c4", (1, 3)),
    ("#c0392b", "#ff8d80", (10, 3)),
    ("#1f6f8b", "#7fd1ea", (3, 3)),
)
"""For labels without a fixed colour, in order."""

PRINT = {
    "svg.fonttype": "none",
    "svg.hashsalt": "probe",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": "#333333",
    "axes.titlesize": 10,
    "axes.titleweight": "regular",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "text.color": "#222222",
    "xtick.color": "#555555",
    "xtick.labelsize": 8,
    "ytick.color": "#555555",
    "ytick.labelsize": 8,
}
"""Matplotlib settings of every printed figure, applied locally."""


def line_style(label: str, rank: int) -> tuple[str, str, tuple[int, ...]]:
    """Choose colour on light, colour on dark and dashes for a line."""
    return LINES.get(label) or SPARE[rank % len(SPARE)]


def palette_name(diverging: bool) -> str:
    """Name the colour map: signed numbers diverge, magnitudes run one way."""
    return "vlag" if diverging else "viridis"


def palette_bytes(name: str) -> str:
    """Give 256 RGB colours of a named map as base64."""
    table = (np.asarray(_colour_map(name)(np.arange(256)))[:, :3] * 255).round()
    return base64.b64encode(table.astype(np.uint8).tobytes()).decode()


def layer_colour(rank: int, size: int, *, dark: bool) -> str:
    """Colour the layer number `rank` of `size` on viridis, leaving out the unreadable end."""
    share = rank / max(1, size - 1)
    place = 0.35 + 0.65 * share if dark else 0.02 + 0.68 * share
    return str(matplotlib.colors.to_hex(_colour_map("viridis")(place)))


def number(value: float | int | None) -> str:
    """Write a number for reading: about three digits, a real minus sign, a dash for none."""
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 1e6:
        text = f"{value:.2e}".replace("e+0", "e").replace("e+", "e")
    elif value == int(value):
        text = str(int(value))
    elif abs(value) >= 0.01:
        digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        text = f"{value:.{digits}f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-")
    return text.replace("-", MINUS)


def brief(value: float | int | None, digits: int = 2) -> str:
    """Write a number for a sentence: few digits, no more than needed."""
    if value is None:
        return NONE
    return f"{round(value)}" if abs(value) >= 100 else f"{value:.{digits}g}".replace("-", MINUS)


def two(value: float | int | None) -> str:
    """Write a share with two decimals, so that two of them compare at a glance."""
    return NONE if value is None else f"{value:.2f}".replace("-", MINUS)


def limits_text(limits: tuple[float, float]) -> tuple[str, str]:
    """Write the two ends of a colour scale with as many digits as tell them apart."""
    for digits in range(3, 8):
        low, high = (f"{value:.{digits}g}".replace("-", MINUS) for value in limits)
        if float(f"{limits[1]:.{digits}g}") - float(f"{limits[0]:.{digits}g}") > 0.5 * (
            limits[1] - limits[0]
        ):
            break
    return low, high


def p_value(value: float | int | None) -> str:
    """Write a p value; small ones as a bound."""
    if value is None:
        return NONE
    return "<\u00a00.001" if value < 0.001 else f"{value:.3f}"


def interval(pair: tuple[float | int | None, float | int | None] | None) -> str:
    """Write an interval as `[low, high]`."""
    return f"[{number(pair[0])}, {number(pair[1])}]" if pair else ""


def slug(text: str) -> str:
    """Turn an id into a file name and an HTML id; a very long one is cut and ends in its hash."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def words(text: str) -> str:
    """Turn an id such as `probe_top1` into words."""
    return text.replace("_", " ").replace(".", ", ")


def _colour_map(name: str) -> matplotlib.colors.Colormap:
    table: matplotlib.colors.Colormap = sns.color_palette(name, as_cmap=True)
    return table
