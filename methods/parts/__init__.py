"""Small pieces that every room uses: normalisation, precision, memory, gathering.
Imports no other room.
"""
