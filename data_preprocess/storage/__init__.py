"""Data sets and tables on disk, the content cache, bounded reading of files from elsewhere."""
