"""Grid features in GPO: cells that are dropped, the frozen backbone, the growing loss, groups, labels, inputs."""

import pytest
import torch

from itm_harness.datasets.batch import Batch, ImageBatch, Pixels, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.grid import GridConfig, keep_cells, packed
from itm_harness.methods.encoders.text_encoders import TextConfig
from itm_harness.methods.gpo import GPO, GPOConfig

GRID = GridConfig(backbone="timm:test_resnet", weights=None, stage=3, side=32, trains_norm=True)
BEGUN = frozenset({"backbone"})


def build(**grid) -> GPO:
    torch.manual_seed(0)
    text = TextConfig(vocabulary_size=20, word_dim=5)
    return GPO(GPOConfig(embed_size=6, text=text, grid=GRID.model_copy(update=grid)))


def make_batch(pairs: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.arange(pairs)
    pixels = torch.randint(0, 256, (pairs, 3, 32, 32), generator=generator, dtype=torch.uint8)
    words = torch.randint(1, 20, (pairs, 6), generator=generator)
    return Batch(ImageBatch(ids, pixels=pixels), TextBatch(ids, ids, words, torch.full((pairs,), 6)))


def test_the_share_of_cells_that_is_dropped():
    """P(cell goes) = P(r > 0.2) · E[0.2 r | r > 0.2] = 0.8 · 0.2 · 0.6; a fifth of the pictures lose none."""
    torch.manual_seed(0)
    kept = keep_cells(4000, 200, 0.2, torch.device("cpu"))
    assert 1 - kept.float().mean() == pytest.approx(0.8 * 0.2 * 0.6, abs=0.003)
    assert kept.all(dim=1).float().mean() == pytest.approx(0.2, abs=0.02)
    per_picture = (~kept).float().mean(dim=1)
    assert per_picture.max() < 0.2 + 0.1


def test_one_cell_always_stays():
    torch.manual_seed(0)
    assert keep_cells(5000, 2, 0.999, torch.device("cpu")).any(dim=1).all()


def test_kept_cells_are_packed_in_order():
    cells = torch.arange(1, 9.0).reshape(2, 4, 1)
    kept = torch.tensor([[True, False, True, False], [False, True, True, True]])
    values, lengths = packed(cells, kept)
    assert values.squeeze(2).tolist() == [[1, 3, 0, 0], [6, 7, 8, 0]]
    assert lengths.tolist() == [2, 3]


def test_evaluation_keeps_all_cells_and_each_picture_stands_alone():
    model, batch = build().eval(), make_batch()
    cells, lengths = model.grid(batch.images.pixels)
    assert cells.shape == (4, 4, 192)
    assert lengths.tolist() == [4] * 4
    whole = model.encode_images(batch.images)["embedding"]
    one = model.encode_images(ImageBatch(torch.tensor([2]), pixels=batch.images.pixels[2:3]))["embedding"]
    torch.testing.assert_close(one, whole[2:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("phases", [frozenset(), BEGUN])
def test_the_backbone_gets_gradients_only_when_its_phase_has_begun(phases):
    model, progress = build().train(), Progress(epoch_share=0.5, phases=phases)
    model.before_step(progress)
    model(make_batch(), progress)["total"].backward()
    assert all((p.grad is not None) == bool(phases) for p in model.grid.parameters())
    assert all(p.grad is not None for p in model.regions.parameters())


@pytest.mark.parametrize(
    ("phases", "factor"),
    [(frozenset(), 1), (BEGUN, 0.25), (BEGUN | {"full_loss"}, 1), (BEGUN | {"max_violation"}, 0.25)],
)
def test_the_loss_grows_in_the_backbones_first_epoch(phases, factor):
    features = {"image": torch.randn(4, 6), "text": torch.randn(4, 6)}
    terms = build().objective(features, torch.arange(4), Progress(epoch_share=0.25, phases=phases))
    torch.testing.assert_close(terms["total"], factor * (terms["i2t"] + terms["t2i"]))


def test_regions_know_no_growing_loss():
    text = TextConfig(vocabulary_size=20, word_dim=5)
    model = GPO(GPOConfig(embed_size=6, region_dim=7, text=text))
    features = {"image": torch.randn(4, 6), "text": torch.randn(4, 6)}
    terms = model.objective(features, torch.arange(4), Progress(epoch_share=0.25, phases=BEGUN))
    torch.testing.assert_close(terms["total"], terms["i2t"] + terms["t2i"])


def test_groups_name_each_parameter_once_and_slow_the_backbone():
    model = build(lr_factor=0.01)
    groups = {group.name: group for group in model.parameter_groups()}
    assert list(groups) == ["text", "image", "backbone"]
    assert (groups["backbone"].lr_factor, groups["backbone"].frozen_until) == (0.01, "backbone")
    assert {id(p) for group in groups.values() for p in group.parameters} == {id(p) for p in model.parameters()}


def test_what_is_read_and_shown():
    model = build(crop=0.7, flip=False)
    assert not model.inputs().regions
    assert model.inputs().pixels == Pixels(32, crop=0.7)
    assert GPO.features_label(model.config, "BUTD region") == "grid, timm:test_resnet, no pretrained weights"
    assert GPO.features_label(GPOConfig(), "BUTD region") == "BUTD region"
    assert GPO.bare(GPOConfig()).inputs().pixels is None
