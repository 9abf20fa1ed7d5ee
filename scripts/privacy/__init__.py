"""Privacy: does a synthetic set give away its training stays? One metric family per file."""
