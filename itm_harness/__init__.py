"""The Python interface of the image-text-matching harness."""
