"""Privacy of the generator: accounting, nearest neighbours, memorised records."""
