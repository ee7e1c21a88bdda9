"""The embedded data set: drawn scenes with captions, generated on first use.
Imports the cache of files/ and errors alone.
"""
