"""The result store: what a record holds, how it is written and read, where its numbers are from.
May import common.
"""
