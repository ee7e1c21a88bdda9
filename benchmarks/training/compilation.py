"""torch.compile for the part of a training step that gains by it: BERT, most of the work where there is one.

The rest of a method depends on the lengths in a batch, which would be compiled over and over.
"""

from __future__ import annotations

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.methods.base import Method
from itm_harness.methods.encoders.text_encoders import BertEncoder


def compile_encoders(method: Method) -> None:
    """Compile every BERT of a method in place, for any batch shape. Raises RunError where there is none."""
    berts = [module.bert for module in method.modules() if isinstance(module, BertEncoder)]
    if not berts:
        raise RunError(
            f"--compile compiles BERT, and {method.name} has none in this recipe; leave it out, or set text.bert=PATH."
        )
    for bert in berts:
        bert.compile(dynamic=True)
