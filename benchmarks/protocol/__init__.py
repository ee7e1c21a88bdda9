"""The one protocol: similarity, ranks, recalls, of matrices and of streamed galleries.
May import records and common.
"""
