"""Leaderboards: records and published numbers as rows, tables and formats.
May import the rooms from runs downwards.
"""
