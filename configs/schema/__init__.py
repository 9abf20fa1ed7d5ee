"""Every key of a config with its type, default and bounds."""
