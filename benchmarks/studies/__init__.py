"""Studies: questions about a method that no training on a data set answers."""
