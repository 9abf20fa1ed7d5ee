"""Fidelity: does a synthetic set look like held-out real stays? One metric family per file."""
