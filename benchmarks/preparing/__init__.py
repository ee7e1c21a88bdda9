"""What `prepare` makes of texts and pictures, a module per product.
May import records and common.
"""
