"""Attention and sparsity of activations."""
