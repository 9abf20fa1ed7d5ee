"""Privacy of the generator: accounting, noise, memorised records, the loss that an attack reads."""
