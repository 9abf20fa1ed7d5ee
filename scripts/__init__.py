"""Stage 4: evaluation of synthetic sets on real patients."""
