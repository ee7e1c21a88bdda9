"""JSON files of a data set: read, faults told in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from itm_harness.datasets.errors import DataError


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises DataError where it is missing or is no JSON that can be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: nested thousands deep
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as JSON ({reason}); write or download it again.") from error
