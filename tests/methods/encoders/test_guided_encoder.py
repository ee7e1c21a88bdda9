"""One side of AAHR: how fragments and CLIP vector are put together, what an embedding depends on."""

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.encoders.guided_encoder import ClipProjection, GuidedEncoder
from itm_harness.methods.errors import MethodError

D, CLIP, HEADS = 8, 5, 2


def guided(clip_dim=CLIP, fusion="gate", mask_padding=True):
    torch.manual_seed(0)
    return GuidedEncoder(D, clip_dim, HEADS, 3, 0.0, 0.8, fusion, mask_padding).eval()


def items(n=4, slots=6):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([6, 1, 4, 2])[:n]
    return torch.randn(n, slots, D, generator=generator), lengths, 3 * torch.randn(n, CLIP, generator=generator)


@torch.no_grad()
def test_the_embedding_of_one_item_written_out():
    encoder, (local, lengths, clip) = guided(), items()
    side = encoder(local, lengths, clip)
    fragments = local[2, :4]  # item 2 has 4 fragments
    guide = encoder.clip.fc(clip[2]) + encoder.clip.mlp(clip[2])
    related = encoder.fragments.relation(fragments[None])
    base = fragments.sort(dim=0, descending=True).values[:2].mean(dim=0)
    unfused = 0.8 * base + 0.2 * encoder.pool(guide[None], related)[0]
    own, other = normalize(unfused, dim=0), normalize(guide, dim=0)
    gate = encoder.gate(torch.cat([own, other])).sigmoid()
    torch.testing.assert_close(side.unfused[2], unfused)
    torch.testing.assert_close(side.embedding[2], gate * own + (1 - gate) * other)
    assert side.local is local
    assert (side.embedding.norm(dim=1) - 1).abs().min() > 1e-3  # not normalised


@torch.no_grad()
def test_masked_padding_changes_nothing_and_released_padding_does():
    local, lengths, clip = items()
    padded = torch.cat([local, torch.ones(4, 3, D)], dim=1)
    for mask_padding in (True, False):
        encoder = guided(mask_padding=mask_padding)
        same = torch.allclose(encoder(local, lengths, clip).embedding, encoder(padded, lengths, clip).embedding)
        assert same == mask_padding


@torch.no_grad()
def test_sum_takes_half_of_each():
    local, lengths, clip = items()
    encoder = guided(fusion="sum")
    side = encoder(local, lengths, clip)
    wanted = (normalize(side.unfused, dim=1) + normalize(encoder.clip(clip), dim=1)) / 2
    torch.testing.assert_close(side.embedding, wanted)
    assert encoder.gate is None


@torch.no_grad()
def test_without_clip_the_encoder_is_that_of_hrem():
    local, lengths, _ = items()
    encoder = guided(clip_dim=None)
    torch.manual_seed(0)
    hrem = FragmentEncoder(D, HEADS, 0.0, 0.8).eval()
    side = encoder(local, lengths, None)
    torch.testing.assert_close(side.unfused, hrem(local, lengths))
    torch.testing.assert_close(side.embedding, normalize(hrem(local, lengths), dim=1))
    assert {name.split(".")[0] for name, _ in encoder.named_parameters()} == {"fragments"}


def test_the_clip_projection_begins_as_two_xavier_layers_without_bias():
    torch.manual_seed(0)
    projection = ClipProjection(300, 200)
    bound = (6 / 500) ** 0.5
    for layer in (projection.fc, projection.mlp):
        assert layer.bias.abs().max() == 0
        assert 0.99 * bound < layer.weight.abs().max() <= bound


def test_clip_vectors_of_another_model_are_refused():
    local, lengths, clip = items()
    with pytest.raises(MethodError, match=r"CLIP vectors of 5 numbers, the data's have 7"):
        guided()(local, lengths, torch.zeros(4, 7))
    assert guided()(local, lengths, clip).embedding.shape == (4, D)
