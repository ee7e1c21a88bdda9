"""Methods that compute next to nothing, or break."""

from itm_harness.methods.base import EmbeddingMethod


class Pairs(EmbeddingMethod):
    def embed_images(self, images):
        raise AssertionError("galleries are encoded by hand here")

    embed_texts = embed_images


class Gallery(Pairs):
    """A score that looks at the whole row."""

    scope = "gallery"

    def combine(self, terms):
        return terms["similarity"].softmax(dim=1)


# A file of a user's own: means, and nothing that VSD knows beside.
SIMPLE = """
from torch import nn
from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.encoders.pooling import mean_pool
from itm_harness.methods.registry import register
from itm_harness.methods.encoders.text_encoders import text_encoder

class SimpleConfig(MethodConfig):
    width: int = 32

@register("simple")
class Simple(EmbeddingMethod):
    Config = SimpleConfig

    def __init__(self, config):
        super().__init__(config)
        self.regions = nn.Linear(config.region_dim, config.width)
        self.words = text_encoder(config.text, config.width)

    def embed_images(self, images):
        return mean_pool(self.regions(images.regions), images.lengths)

    def embed_texts(self, texts):
        return mean_pool(self.words(texts.words, texts.lengths), texts.lengths)
"""
