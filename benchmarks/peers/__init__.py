"""Other generators on the same splits, evaluated by the same stage 4."""
