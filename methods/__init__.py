"""Image-text-matching methods: one file each, beside the parts they share."""
