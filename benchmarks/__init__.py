"""Measurements that docs/results.md and benchmarks/results.md report; not part of the product."""
