"""The embedded data set: drawn scenes with captions, generated on first use.
Imports files/ and errors alone.
"""
