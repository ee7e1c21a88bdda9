"""The commands of harness.py, grouped by what they are for: each parses its options, calls benchmarks/, prints."""
