"""Golden cases: the official implementations' numbers, computed anew by ours.
May import the rooms from bench downwards.
"""
