"""Hidden states: how far they moved, and how alike they stayed."""
