"""The version of the protocol. It rises when the same similarity matrix would be given other numbers.

1: similarity matrix → ranks that count strictly better items plus ties → recalls in percent, floor(median) + 1, mean
rank, rsum; coco-1k as the mean over five consecutive folds of 1,000 images.
"""

PROTOCOL_VERSION = 1
