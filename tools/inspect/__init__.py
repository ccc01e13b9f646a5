"""Looking at data sets: verify, stats, view."""
