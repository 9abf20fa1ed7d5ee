"""The PhysioNet/CinC Challenge 2019."""
