"""What every fidelity and privacy metric works with: sets to compare, features, reports."""
