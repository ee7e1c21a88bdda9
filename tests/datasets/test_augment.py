import numpy as np
import pytest
import torch

from itm_harness.datasets.augment import augment_words, keep_regions
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.text.tokens import UNTOUCHED, Tokens

MASK, SIZE = 99, 100


def tokens_of(rows, groups):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Tokens(np.concatenate(rows).astype(np.int32), offsets, np.concatenate(groups).astype(np.int32))


def words(n, length):
    """n captions of `length` words, ids 10 and up, each a word of its own."""
    return tokens_of([np.arange(length) + 10] * n, [np.arange(length)] * n)


def pieces(n):
    """n captions [CLS] a bb ccc [SEP] with words of one, two and three pieces."""
    return tokens_of([[1, 10, 20, 21, 30, 31, 32, 2]] * n, [[UNTOUCHED, 0, 1, 1, 2, 2, 2, UNTOUCHED]] * n)


def augmented(tokens, seed, probability, size=SIZE):
    return augment_words(tokens, Draws(seed, 0), np.arange(len(tokens.offsets) - 1), probability, MASK, size)


def rows_of(tokens):
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)]


def test_a_fifth_of_the_regions_goes_independently():
    kept = keep_regions(Draws(0, 0), torch.arange(5000), 36, 0.2)
    assert kept.float().mean() == pytest.approx(0.8, abs=0.003)
    assert kept.numpy().mean(axis=0).std() < 0.01  # every position alike
    assert np.corrcoef(kept.numpy()[:, 0], kept[:, 1])[0, 1] == pytest.approx(0, abs=0.05)


def test_one_region_stays_at_least():
    kept = keep_regions(Draws(0, 0), torch.arange(1000), 3, 0.999)
    assert (kept.sum(axis=1) >= 1).all()
    assert (kept.sum(axis=1) == 1).float().mean() > 0.9
    assert len(set(kept.int().argmax(dim=1).tolist())) == 3  # not always the same one
    assert keep_regions(Draws(0, 0), torch.arange(100), 3, 0).all()


def test_shares_of_masked_replaced_and_removed_words():
    n, length = 4000, 10
    result = augmented(words(n, length), 0, 0.2)
    total = n * length
    assert 1 - len(result.ids) / total == pytest.approx(0.2 * 0.4, abs=0.005)
    assert (result.ids == MASK).sum() / total == pytest.approx(0.2 * 0.5 + 0.2 * 0.1 / SIZE, abs=0.005)
    strange = ~np.isin(result.ids, [*range(10, 10 + length), MASK])
    assert strange.sum() / total == pytest.approx(0.2 * 0.1 * (1 - 11 / SIZE), abs=0.003)
    assert result.ids.min() >= 0
    assert result.ids.max() < SIZE


def test_every_position_is_touched_alike_the_first_and_last_included():
    result = augmented(words(20000, 4), 1, 0.2)
    whole = np.array([row for row in rows_of(result) if len(row) == 4])
    assert (whole == MASK).mean(axis=0) == pytest.approx([0.1 / 0.92] * 4, abs=0.01)


def test_words_that_stay_keep_their_order():
    for row in rows_of(augmented(words(500, 12), 2, 0.5, 5)):
        stayed = [i for i in row if 10 <= i < 22]
        assert stayed == sorted(stayed)


def test_pieces_of_a_word_share_its_fate_and_special_tokens_stay():
    rows = rows_of(augmented(pieces(4000), 3, 0.5))
    assert all((row[0], row[-1]) == (1, 2) for row in rows)
    # words of one, two and three pieces go as wholes, each with probability 0.2
    removed = np.array([8 - len(row) for row in rows])
    expected = {0: 0.8**3, 1: 0.2 * 0.64, 2: 0.2 * 0.64, 3: 0.2 * 0.64 + 0.04 * 0.8, 6: 0.008}
    for count, share in expected.items():
        assert np.mean(removed == count) == pytest.approx(share, abs=0.02)
    second = [row[2:4] for row in rows if len(row) == 8]
    masked = np.mean([word == [MASK, MASK] for word in second])
    assert masked == pytest.approx(0.25 / 0.8, abs=0.03)
    assert np.mean([word == [20, 21] for word in second]) == pytest.approx(0.5 / 0.8, abs=0.03)


def test_pieces_are_replaced_one_by_one():
    result = augmented(pieces(20000), 4, 0.9)
    replaced = [row[2:4] for row in rows_of(result) if len(row) == 8 and not {20, 21, MASK} & set(row[2:4])]
    assert len(replaced) > 100
    assert np.mean([a == b for a, b in replaced]) < 0.05  # each piece draws its own entry


def test_no_caption_becomes_empty():
    result = augmented(words(20000, 2), 5, 0.99)
    assert result.lengths.min() == 1
    only_special = augmented(pieces(2000), 6, 0.99)
    assert only_special.lengths.min() == 2  # [CLS] and [SEP] are left


def test_the_same_draws_give_the_same_words_and_probability_zero_none():
    first, second = (augmented(pieces(50), 7, 0.2) for _ in range(2))
    assert np.array_equal(first.ids, second.ids)
    untouched = augmented(pieces(50), 7, 0.0)
    assert np.array_equal(untouched.ids, pieces(50).ids)
    assert np.array_equal(untouched.offsets, pieces(50).offsets)


def test_groups_go_with_their_tokens():
    result = augmented(pieces(200), 8, 0.5)
    assert len(result.groups) == len(result.ids) == result.offsets[-1]
    assert (result.groups[result.offsets[:-1]] == UNTOUCHED).all()


def test_a_caption_fares_alike_in_any_batch():
    rows = np.array([7, 3, 3, 41])
    whole, some = augmented(pieces(50), 9, 0.5), pieces(4)
    alone = augment_words(some, Draws(9, 0), rows, 0.5, MASK, SIZE)
    assert rows_of(alone) == [rows_of(whole)[row] for row in rows]
    assert len({tuple(row) for row in rows_of(whole)}) > 20
    everywhere = keep_regions(Draws(9, 0), torch.arange(50), 36, 0.5)
    assert torch.equal(keep_regions(Draws(9, 0), torch.from_numpy(rows), 36, 0.5), everywhere[rows])
    assert not torch.equal(keep_regions(Draws(9, 1), torch.arange(50), 36, 0.5), everywhere)
