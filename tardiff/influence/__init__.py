"""Influence functions: the guidance gradient G, its preconditioner, I(z) and J = grad_x I."""
