"""Influence as a tool: which series of a labelled set help the classifier."""
