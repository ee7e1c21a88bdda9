"""Methods in their slow and obvious form, on the parameters of the fast one.
May import methods and datasets alone.
"""
