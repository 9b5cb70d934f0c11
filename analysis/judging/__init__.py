"""Verdicts: each hypothesis with its rule, its threshold and its evidence."""
