"""The one exception that bad data raises."""


class DataError(Exception):
    """Something about the data on disk is wrong. The message is one sentence: which file, what, what to do."""
