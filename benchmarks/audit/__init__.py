"""A results folder held against itself and against the data.
May import the rooms from report downwards.
"""
