"""The report page: results/index.html, one file that needs nothing else, made from the records alone."""
