"""Time and memory of training steps and galleries, and BENCHMARKS.md.
May import the rooms from runs downwards.
"""
