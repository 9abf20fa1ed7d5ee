"""One file a picture of the report: its numbers, and how they are drawn. Numbers come first."""
