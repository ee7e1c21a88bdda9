"""The command line from a checkout: what `itm` runs once the package is installed."""

import sys
from pathlib import Path

sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]

from itm_harness.benchmarks.commands.app import main  # noqa: E402 - from here `import datasets` never finds ours

if __name__ == "__main__":
    main()
