"""YAIB, ricu and OpenICU cohorts."""
