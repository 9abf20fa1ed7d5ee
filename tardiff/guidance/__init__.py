"""How influence chooses series from a pool, or pushes the sampler: guides, strengths, the shift."""
