"""A run from its options to its record; sweeps, repetitions, ensembles, evaluation of checkpoints.
May import the rooms from training downwards.
"""
