"""Stage 2: the task classifier, its losses, and the recipe of every downstream model."""
