"""What every fidelity and privacy metric works with: sets to compare, reports, the registry."""
