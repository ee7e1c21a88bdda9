"""Readers of data sets, a YAML each, in rooms.
Imports neither methods nor benchmarks.
"""
