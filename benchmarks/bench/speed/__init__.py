"""Measurements that take too long for a test, each a program of its own.
May import what bench may.
"""
