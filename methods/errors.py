"""The one exception that a wrong method name, recipe or checkpoint raises."""


class MethodError(Exception):
    """A method, recipe or checkpoint cannot be used. The message is one sentence: what, where, what to do."""
