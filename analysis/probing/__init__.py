"""Linear probes on hidden states: what they know, where, and whether the model says it."""
