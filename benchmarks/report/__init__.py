"""The report page: one file of HTML made from records.
May import the rooms from ablations downwards.
"""
