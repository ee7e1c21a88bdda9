"""Ablation sets (one YAML a method), their missing runs and ABLATIONS.md.
May import the rooms from leaderboard downwards.
"""
