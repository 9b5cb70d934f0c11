"""Change points: where a curve changes abruptly, on which clock, and what moved first."""
