"""Sets in the forms that other tools read, with metadata for programs."""
