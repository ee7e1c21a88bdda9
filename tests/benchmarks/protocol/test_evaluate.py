"""Scoring in chunks equals scoring at once; combine sees complete rows."""

import pytest
import torch

from itm_harness.benchmarks.protocol import evaluate, pair_scores
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.parts.encoded import Encoded
from itm_tests.small_methods import Gallery, Pairs
from itm_tests.trees import write_f30k


def encoded(n, seed):
    return Encoded({"embedding": torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))})


@pytest.mark.parametrize("sizes", [(3, 7), (1, 1), (100, 100)])
def test_chunks_do_not_change_the_matrix(monkeypatch, sizes):
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", sizes[0])
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", sizes[1])
    images, texts = encoded(11, 0), encoded(26, 1)
    products = images["embedding"] @ texts["embedding"].T
    similarity = evaluate.similarity_matrix(Pairs(MethodConfig()), images, texts)
    assert torch.allclose(similarity, products, atol=1e-6)
    gallery = evaluate.similarity_matrix(Gallery(MethodConfig()), images, texts)
    assert torch.allclose(gallery, products.softmax(dim=1), atol=1e-6)


def test_an_evaluation_can_be_abandoned():
    class Stop(Exception):
        pass

    def tick():
        raise Stop

    with pytest.raises(Stop):
        evaluate.similarity_matrix(Pairs(MethodConfig()), encoded(3, 0), encoded(5, 1), tick)


class Sides(EmbeddingMethod):
    """Numbers that tell items apart; notes which side is encoded, and under which precision."""

    def __init__(self):
        super().__init__(MethodConfig())
        self.seen = set()

    def embed_images(self, images):
        self.seen.add(("images", torch.is_autocast_enabled("cpu")))
        return images.regions.mean(dim=1)

    def embed_texts(self, texts):
        self.seen.add(("texts", torch.is_autocast_enabled("cpu")))
        return texts.words.float().mean(dim=1, keepdim=True)


def test_a_side_is_that_of_the_gallery_and_the_other_is_not_encoded(tmp_path):
    write_f30k(tmp_path)
    method, device = Sides(), torch.device("cpu")
    split = open_split(open_dataset("f30k", tmp_path), "test", method.inputs())
    gallery = dict(zip(("images", "texts"), evaluate.encode_gallery(method, split, 7, device), strict=True))
    assert method.seen == {("images", False), ("texts", False)}
    for side, encodings in gallery.items():
        method.seen.clear()
        one = evaluate.encode_side(side, method.train(), split, 7, device, "bf16")
        assert method.seen == {(side, True)}
        assert torch.equal(one["embedding"], encodings["embedding"])
        assert not method.training
