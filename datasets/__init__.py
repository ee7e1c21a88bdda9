"""Readers of precomputed features and captions, and the embedded demo data set."""
