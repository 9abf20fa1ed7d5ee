"""How fast every part runs, beside what the machine can do; `python -m benchmarks.speed --help`."""
