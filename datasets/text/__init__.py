"""Captions, tokens, sentence vectors, scene graphs.
May import files/ and pictures/.
"""
