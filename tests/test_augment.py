import numpy as np
import pytest

from datasets.augment import augment_words, keep_regions
from datasets.text import UNTOUCHED, Tokens

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


def rows_of(tokens):
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)]


def test_a_fifth_of_the_regions_goes_independently():
    kept = keep_regions(np.random.default_rng(0), 5000, 36, 0.2)
    assert kept.mean() == pytest.approx(0.8, abs=0.003)
    assert kept.mean(axis=0).std() < 0.01  # every position alike
    assert np.corrcoef(kept[:, 0], kept[:, 1])[0, 1] == pytest.approx(0, abs=0.05)


def test_one_region_stays_at_least():
    kept = keep_regions(np.random.default_rng(0), 1000, 3, 0.999)
    assert (kept.sum(axis=1) >= 1).all()
    assert (kept.sum(axis=1) == 1).mean() > 0.9
    assert len(set(kept.argmax(axis=1))) == 3  # not always the same one
    assert keep_regions(np.random.default_rng(0), 100, 3, 0).all()


def test_shares_of_masked_replaced_and_removed_words():
    n, length = 4000, 10
    result = augment_words(words(n, length), np.random.default_rng(0), 0.2, MASK, SIZE)
    total = n * length
    assert 1 - len(result.ids) / total == pytest.approx(0.2 * 0.4, abs=0.005)
    assert (result.ids == MASK).sum() / total == pytest.approx(0.2 * 0.5 + 0.2 * 0.1 / SIZE, abs=0.005)
    strange = ~np.isin(result.ids, [*range(10, 10 + length), MASK])
    assert strange.sum() / total == pytest.approx(0.2 * 0.1 * (1 - 11 / SIZE), abs=0.003)
    assert result.ids.min() >= 0
    assert result.ids.max() < SIZE


def test_every_position_is_touched_alike_the_first_and_last_included():
    result = augment_words(words(20000, 4), np.random.default_rng(1), 0.2, MASK, SIZE)
    whole = np.array([row for row in rows_of(result) if len(row) == 4])
    assert (whole == MASK).mean(axis=0) == pytest.approx([0.1 / 0.92] * 4, abs=0.01)


def test_words_that_stay_keep_their_order():
    for row in rows_of(augment_words(words(500, 12), np.random.default_rng(2), 0.5, MASK, 5)):
        stayed = [i for i in row if 10 <= i < 22]
        assert stayed == sorted(stayed)


def test_pieces_of_a_word_share_its_fate_and_special_tokens_stay():
    rows = rows_of(augment_words(pieces(4000), np.random.default_rng(3), 0.5, MASK, SIZE))
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
    result = augment_words(pieces(20000), np.random.default_rng(4), 0.9, MASK, SIZE)
    replaced = [row[2:4] for row in rows_of(result) if len(row) == 8 and not {20, 21, MASK} & set(row[2:4])]
    assert len(replaced) > 100
    assert np.mean([a == b for a, b in replaced]) < 0.05  # each piece draws its own entry


def test_no_caption_becomes_empty():
    result = augment_words(words(20000, 2), np.random.default_rng(5), 0.99, MASK, SIZE)
    assert result.lengths.min() == 1
    only_special = augment_words(pieces(2000), np.random.default_rng(6), 0.99, MASK, SIZE)
    assert only_special.lengths.min() == 2  # [CLS] and [SEP] are left


def test_the_same_draws_give_the_same_words_and_probability_zero_none():
    first, second = (augment_words(pieces(50), np.random.default_rng(7), 0.2, MASK, SIZE) for _ in range(2))
    assert np.array_equal(first.ids, second.ids)
    untouched = augment_words(pieces(50), np.random.default_rng(7), 0.0, MASK, SIZE)
    assert np.array_equal(untouched.ids, pieces(50).ids)
    assert np.array_equal(untouched.offsets, pieces(50).offsets)


def test_groups_go_with_their_tokens():
    result = augment_words(pieces(200), np.random.default_rng(8), 0.5, MASK, SIZE)
    assert len(result.groups) == len(result.ids) == result.offsets[-1]
    assert (result.groups[result.offsets[:-1]] == UNTOUCHED).all()
