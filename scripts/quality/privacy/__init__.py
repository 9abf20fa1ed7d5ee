"""Privacy metrics: what a synthetic set tells about the series that it was trained on."""
