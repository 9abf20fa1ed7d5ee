"""Stage 3: from a trained model to a synthetic set on disk, batch by batch."""
