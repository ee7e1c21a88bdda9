"""Captions, tokens, sentence vectors, scene graphs."""
