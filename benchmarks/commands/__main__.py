"""`python -m itm_harness.benchmarks.commands`: what `itm` runs, for processes that this harness starts itself."""

from itm_harness.benchmarks.commands.app import main

main()
