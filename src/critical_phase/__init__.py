"""Find what changes abruptly inside a language model while it is fine-tuned.

The rooms are `checkpoints` (make and read series), `probes` (instruments attached
to a model), `analysis` (numbers in, findings out) and `reports` (findings in,
pages out). Importing this package loads none of them.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
