"""Of each shipped method what is known without loading it: its recipe (YAML), and its description beside it.
May import methods/description.py, config.py, defaults.py, registry.py, and no torch.
"""
