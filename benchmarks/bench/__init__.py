"""Time and memory of every method on synthetic data in the shapes of real data sets (`bench`)."""
