"""Golden cases of captions: words and SCAN vocabulary ids."""

from __future__ import annotations

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.verify.case import Case
from itm_harness.datasets.text.tokens import Vocabulary, WordTokenizer, split_words


def check(case: Case) -> None:
    """Words, ids and lengths of the case's captions."""
    missing = [key for key in ("captions", "tokens", "vocab_subset") if key not in case.about]
    if missing:
        raise RunError(f"{case.folder / 'case.json'} has no '{missing[0]}', which cases of text need.")
    captions, tokens = case.about["captions"], case.about["tokens"]
    wrong = sum(split_words(caption) != words for caption, words in zip(captions, tokens, strict=True))
    case.report.add("tokens (case.json)", wrong, 0)
    encoded = WordTokenizer(partial_vocabulary(case)).encode(captions)
    case.compare("ids", encoded.padded())
    case.compare("lengths", encoded.lengths)


def partial_vocabulary(case: Case) -> Vocabulary:
    """The case's words at their ids; the other ids get names that no caption holds."""
    words = [f"<{i}>" for i in range(case.setting("vocab_size"))]
    special = {f"<{name}>": case.setting(name) for name in ("pad", "start", "end", "unk")}
    for word, i in {**case.about["vocab_subset"], **special}.items():
        words[i] = word
    return Vocabulary(words)
