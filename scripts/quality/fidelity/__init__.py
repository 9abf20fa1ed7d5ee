"""Fidelity metrics: how a synthetic set differs from held-out real series."""
