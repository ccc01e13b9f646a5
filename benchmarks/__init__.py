"""Benchmarks: each is a command, ``python -m benchmarks.NAME``, whose output a user can repeat."""
