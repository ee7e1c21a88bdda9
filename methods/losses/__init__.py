"""Losses, and what they are computed against: prototypes, clusters, momentum queues.
May import parts.
"""
