"""The exceptions that a run, a record or a leaderboard raises."""


class RunError(Exception):
    """A run cannot go on, or a record cannot be used. The message is one sentence: what, where, what to do."""


class NotFiniteError(RunError):
    """Scores that are NaN or infinite, which rank nothing."""
