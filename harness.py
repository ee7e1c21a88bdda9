"""The command line from a checkout: what `itm` runs once the package is installed."""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != ROOT]  # `import datasets` never finds ours

installed = find_spec("itm_harness")
if not installed or Path(installed.origin).resolve().parents[1] != ROOT:
    instead = f", which has {Path(installed.origin).parent} instead" if installed else ""
    print(f"harness.py: {ROOT} is not installed here{instead}; run `pip install -e {ROOT}`.", file=sys.stderr)
    sys.exit(2)

from itm_harness.benchmarks.commands.app import main  # noqa: E402 - only now is it known to be this checkout's

if __name__ == "__main__":
    main()
