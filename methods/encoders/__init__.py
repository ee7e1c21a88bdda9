"""Encoders of regions, pictures and words, and how a set of vectors becomes one.
May import losses and parts.
"""
