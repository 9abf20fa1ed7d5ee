"""The simulated cohort of the demo."""
