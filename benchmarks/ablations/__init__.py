"""Ablations: sets of changed recipes, one YAML file per method, run where they are missing and put into tables."""
