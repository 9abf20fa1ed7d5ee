"""How a classifier is trained: batches, the Lightning module, callbacks, resuming."""
