"""Stage 1: the training objective, its loop, checkpoints and DP-SGD."""
