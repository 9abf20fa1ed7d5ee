"""The classifiers that come with the project, and the contract that any other keeps."""
