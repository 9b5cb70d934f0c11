"""The LoRA updates: size, direction, spaces, and signs of instability."""
