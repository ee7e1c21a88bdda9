"""The training engine: steps, optimiser, checkpoints, what is shown meanwhile.
May import the rooms from protocol downwards.
"""
