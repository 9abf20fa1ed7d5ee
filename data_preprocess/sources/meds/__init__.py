"""MEDS, the Medical Event Data Standard."""
