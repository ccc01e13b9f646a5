"""Conversion: writes other layouts from shards, and finds and reads videos in them."""
