"""Of each shipped method what is known without loading it: its recipe (YAML), and its description beside it.
May import what needs no torch: description, config, defaults, registry, and configurations of encoders.
"""
