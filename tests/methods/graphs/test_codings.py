"""Codings and poolings, against loops over pairs and fragments, and with padding that must not count."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize, pad

from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.graphs import codings
from itm_harness.methods.graphs.codings import FragmentSimilarity, coded, pooled
from itm_harness.methods.parts.encoded import Ragged

REGION_LENGTHS, WORD_LENGTHS = torch.tensor([3, 1, 4]), torch.tensor([2, 5, 1, 3])
CODINGS = ("vha", "tha", "vsa")
POOLINGS = ("max", "mean", "sum", "softmax", "lse")


def fragments(dtype=torch.float64):
    """Regions of three images and words of four captions; what stands at padded slots must not count."""
    generator = torch.Generator().manual_seed(0)
    regions = torch.randn(3, 4, 6, generator=generator, dtype=dtype)
    words = torch.randn(4, 5, 6, generator=generator, dtype=dtype)
    return normalize(regions, dim=2), normalize(words, dim=2)


def code_by_loops(regions, words, coding):
    """regions: (N, d), words: (L, d), all valid. Returns a list."""
    if coding == "vha":
        return [max((r @ w).item() for r in regions) for w in words]
    if coding == "tha":
        return [max((r @ w).item() for w in words) for r in regions]
    codes = []
    for region in regions:
        weights = [math.exp((region @ w).item() / 0.1) for w in words]
        context = sum(weight / sum(weights) * w for weight, w in zip(weights, words, strict=True))
        codes.append(cosine_similarity(region, context, dim=0).item())
    return codes


def pool_by_loops(codes, pooling):
    scaled = [math.exp(c / 0.1) for c in codes]
    return {
        "max": max(codes),
        "mean": sum(codes) / len(codes),
        "sum": sum(codes),
        "softmax": sum(c * s for c, s in zip(codes, scaled, strict=True)) / sum(scaled),
        "lse": math.log(sum(scaled)),
    }[pooling]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_similarity_equals_loops_over_the_valid_fragments(coding, pooling):
    regions, words = fragments()
    found = FragmentSimilarity(coding, pooling)(regions, words, REGION_LENGTHS, WORD_LENGTHS)
    for i, n in enumerate(REGION_LENGTHS):
        for t, m in enumerate(WORD_LENGTHS):
            wanted = pool_by_loops(code_by_loops(regions[i, :n], words[t, :m], coding), pooling)
            assert found[i, t].item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("coding", CODINGS)
def test_padded_slots_hold_minus_one(coding):
    regions, words = fragments()
    valid = valid_positions(REGION_LENGTHS, 4), valid_positions(WORD_LENGTHS, 5)
    codes, counted = coded(regions, words, *valid, coding)
    kept = counted.expand_as(codes)
    if coding == "vha":
        codes = codes.masked_fill(~kept, -1)
    assert (codes[~kept] == -1).all()
    assert (codes[kept] > -1).all()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_more_padding_changes_nothing_and_gradients_are_right(coding, pooling):
    regions, words = fragments()
    valid = valid_positions(REGION_LENGTHS, 4), valid_positions(WORD_LENGTHS, 5)
    padded = pad(regions, (0, 0, 0, 2), value=0.3), pad(words, (0, 0, 0, 3), value=0.3)
    more = valid_positions(REGION_LENGTHS, 6), valid_positions(WORD_LENGTHS, 8)

    def similarity(r, w, masks):
        return pooled(*coded(r, w, *masks, coding), pooling)

    torch.testing.assert_close(similarity(*padded, more), similarity(regions, words, valid))
    leaves = regions.clone().requires_grad_(), words.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda r, w: similarity(r, w, valid), leaves)


@pytest.mark.parametrize("coding", CODINGS)
def test_galleries_are_compared_in_parts(coding, monkeypatch):
    regions, words = fragments(torch.float32)
    similarity = FragmentSimilarity(coding, "mean")
    whole = similarity(regions, words, REGION_LENGTHS, WORD_LENGTHS)
    ragged = Ragged.from_padded(regions, REGION_LENGTHS), Ragged.from_padded(words, WORD_LENGTHS)
    for products in (1, 3 * 4 * 5 * 3, 2**24):  # one text at a time, three, all
        monkeypatch.setattr(codings, "PRODUCTS", products)
        torch.testing.assert_close(similarity.of_galleries(*ragged), whole)


def test_temperatures_are_those_given():
    regions, words = fragments(torch.float32)
    lengths = REGION_LENGTHS, WORD_LENGTHS
    sharp = FragmentSimilarity("vsa", "softmax", coding_temperature=1e-3, pooling_temperature=1e-3)
    nearest = FragmentSimilarity("tha", "max")  # a sharp attention sees one word, a sharp softmax one region
    torch.testing.assert_close(sharp(regions, words, *lengths), nearest(regions, words, *lengths), atol=1e-3, rtol=0)
    assert not torch.allclose(
        FragmentSimilarity("vsa", "softmax")(regions, words, *lengths), nearest(regions, words, *lengths), atol=1e-2
    )
