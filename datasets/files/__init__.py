"""Files of a data set: arrays, JSON, annotations, manifests, and the check of all of it.
May import every module of datasets/ but split.py and loader.py.
"""
