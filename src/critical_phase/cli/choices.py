"""Names and defaults that help pages list, without the rooms that define them.

The rooms load torch, which takes seconds, and `probe CMD --help` is to answer at once. A test
holds every value against its original (tests/cli/test_help.py).
"""

COLLECTORS = (
    "residual",
    "attention",
    "sparsity",
    "residual_sparsity",
    "lora_hidden",
    "margin_gradient",
    "head_output",
    "head_importance",
)
"""Names of `probes.COLLECTORS`."""

DEFAULT_COLLECTORS = ("residual", "attention", "sparsity")
POSITION_NAMES = ("question_end", "answer_end", "answer_mean")
SITES = ("pre", "mid", "post")

EXPORT_FORMATS = ("hdf5", "npz", "safetensors")
EXPORT_DTYPES = ("float32",)

SCORE_MODES = ("base", "adapter", "likra", "sft", "base_likra", "pos_base")
"""The base, one adapter, and `analysis.MODES`."""

RANDOM_ADAPTER = "random_adapter"

ORGANISM_ACCESSIBILITY = 0.07
ORGANISM_STEPS = 1100
"""Defaults of `checkpoints.organism`."""
