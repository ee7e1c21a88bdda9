"""Studies that need no data set, and STUDIES.md.
May import the rooms from leaderboard downwards.
"""
