"""The exceptions that a run, a record or a leaderboard raises, and how untrusted text is shown on a terminal."""

LONGEST = 2000  # characters of a sentence: more of a hostile value tells nobody anything


class RunError(Exception):
    """A run cannot go on, or a record cannot be used. The message is one sentence: what, where, what to do."""


class NotFiniteError(RunError):
    """Scores that are NaN or infinite, which rank nothing."""


def printable(text: str) -> str:
    """Text that a terminal only shows: control characters, which could drive it, are spelled out; cut to LONGEST."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in shown)
