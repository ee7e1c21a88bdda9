"""Readers of data sets, a YAML each; rooms for files, text, pictures and the embedded demo.
Imports neither methods nor benchmarks.
"""
