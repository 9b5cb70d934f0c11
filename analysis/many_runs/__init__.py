"""Several runs together: seeds of one design, and sweeps."""
