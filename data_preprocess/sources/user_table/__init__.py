"""Your own tables: long, wide or MEDS events, as CSV or Parquet."""
