"""Slow and obvious implementations: what the fast paths are tested against and timed beside."""
