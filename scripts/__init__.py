"""Stage 4: judging synthetic sets on real patients."""
