"""The PhysioNet/CinC Challenges of 2012 and 2019."""
