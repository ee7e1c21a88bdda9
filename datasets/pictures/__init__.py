"""Pictures, pixels, grids of cells, and the models that look at pictures or texts.
May import files/ and text/.
"""
