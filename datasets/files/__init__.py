"""Files of a data set: arrays, JSON, annotations, manifests, and the check of all of it."""
