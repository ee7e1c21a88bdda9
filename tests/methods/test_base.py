"""The contract's containers, and what every embedding method inherits."""

import pytest
import torch

from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import EmbeddingMethod, MethodConfig, Progress
from itm_harness.methods.parts.encoded import Encoded, Ragged


@pytest.fixture
def padded():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 1, 4, 2])
    values = torch.randn(4, 4, 5, generator=generator)
    values[torch.arange(4) >= lengths[:, None]] = 0
    return values, lengths


def test_ragged_rows_come_back_as_they_were(padded):
    values, lengths = padded
    ragged = Ragged.from_padded(values, lengths)
    assert ragged.values.shape == (10, 5)
    assert torch.equal(ragged.lengths, lengths)
    assert torch.equal(ragged.padded(), values)


def test_slices_of_encodings_join_to_the_whole(padded):
    values, lengths = padded
    encoded = Encoded({"words": Ragged.from_padded(values, lengths), "embedding": values.sum(dim=1)})
    parts = [part for _, part in encoded.chunks(3)]
    assert [len(p) for p in parts] == [3, 1]
    joined = Encoded.concatenate(parts)
    assert torch.equal(joined["words"].padded(), values)
    assert torch.equal(joined["embedding"], encoded["embedding"])
    assert torch.equal(encoded[1:3]["words"].padded(), values[1:3])


def test_encodings_become_float32_and_integers_stay():
    encoded = Encoded({"a": torch.ones(2, 3, dtype=torch.bfloat16), "ids": torch.arange(2)}).float()
    assert encoded["a"].dtype == torch.float32
    assert encoded["ids"].dtype == torch.int64


class Sum(EmbeddingMethod):
    """Embeddings are sums, so that everything can be worked out by hand."""

    def embed_images(self, images):
        return images.regions.sum(dim=1)

    def embed_texts(self, texts):
        return texts.words.float()


def pairs(dtype=torch.float32):
    regions = torch.eye(3, dtype=dtype)[:, None].repeat(1, 2, 1)
    images = ImageBatch(torch.arange(3), regions, torch.full((3,), 2))
    return Batch(images, TextBatch(torch.arange(3), torch.arange(3), torch.eye(3).long(), torch.full((3,), 3)))


def test_an_embedding_method_scores_by_dot_products():
    method, batch = Sum(MethodConfig()), pairs()
    terms = method.score(method.encode_images(batch.images), method.encode_texts(batch.texts))
    assert torch.equal(method.combine(terms), 2 * torch.eye(3))


def test_the_objective_is_computed_in_float32_outside_autocast():
    seen = {}

    class Watches(Sum):
        def objective(self, features, ids, progress):
            seen.update(dtype=features["image"].dtype, autocast=torch.is_autocast_enabled("cpu"))
            return super().objective(features, ids, progress)

    with torch.autocast("cpu", torch.bfloat16):
        loss = Watches(MethodConfig())(pairs(torch.bfloat16), Progress())["total"]
    assert seen == {"dtype": torch.float32, "autocast": False}
    assert loss.dtype == torch.float32


def test_a_bare_method_has_a_configuration_and_no_parameters():
    class Large(Sum):
        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Linear(1000, 1000)

    bare = Large.bare(MethodConfig())
    assert list(bare.parameters()) == []
    assert bare.inputs().text.min_count == 4


def test_progress_knows_which_phases_have_begun():
    progress = Progress(step=5, epoch=1, phases=frozenset({"graph"}))
    assert progress.reached("graph")
    assert not progress.reached("max_violation")
