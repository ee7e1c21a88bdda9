"""Image-text-matching methods: a file each, what they share in rooms, recipes/.
May import the batch types of datasets/batch.py and nothing else of this project.
"""
