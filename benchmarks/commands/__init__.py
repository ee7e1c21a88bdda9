"""The command line: one module per group of commands, which parses its options, calls a room below, prints.
May import every other room; nothing imports it.
"""
