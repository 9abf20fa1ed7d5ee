"""Other generators on the same splits, judged by the same stage 4."""
