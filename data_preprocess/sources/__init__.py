"""Readers of raw data, one for each value of `data.source`."""
