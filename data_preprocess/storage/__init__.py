"""Datasets on disk: .npz, CSV, and bounded reading of files from elsewhere."""
