"""Worlds whose truth is known, and the selftest that runs them."""
