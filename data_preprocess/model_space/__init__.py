"""Between clinical units and the tensor that models see."""
