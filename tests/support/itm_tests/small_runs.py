"""Overrides of a run that takes a second, and a method file whose run breaks."""

SMALL = {"text.bert": None, "embed_size": 16, "train.batch_size": 8, "train.epochs": 1}
BROKEN = """
from itm_harness.methods.gpo import GPO
from itm_harness.methods.registry import register

@register("broken")
class Broken(GPO):
    def objective(self, features, ids, progress):
        raise ValueError("it breaks in its first step")
"""
