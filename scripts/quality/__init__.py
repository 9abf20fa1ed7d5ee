"""Fidelity and privacy of a synthetic set, when a metric raises a flag, and known defects."""
