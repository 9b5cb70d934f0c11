"""What scores of candidates say: likelihood, accuracy, margins, noise, contexts, controls."""
