"""Graphs over a batch, and matching of two sets of fragments.
May import encoders, losses and parts.
"""
