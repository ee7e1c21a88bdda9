"""What a misspelt name may have meant."""

from __future__ import annotations

import difflib


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """' (did you mean X?)' where something known is close to `word`, else ''."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
