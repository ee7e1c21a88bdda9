"""Measurements of time and memory; too slow or too dependent on the machine to be tests."""
