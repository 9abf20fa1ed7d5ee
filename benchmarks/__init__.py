"""Commands that measure: `python -m benchmarks.<name>`; what they found is in results.md."""
