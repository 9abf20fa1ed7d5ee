"""Fidelity and privacy of a synthetic set, and when a metric raises a flag."""
