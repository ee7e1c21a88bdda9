"""What records say: statistics, comparisons, what was retrieved.
May import records and common.
"""
