"""A record as result files of MTEB's shape, checked against a schema that was written from its documentation."""

import jsonschema
import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.mteb_result import mteb_results, ndcg
from itm_tests.stores import Store, ranked_details

SCORES = {
    "type": "object",
    "required": ["main_score", "hf_subset", "languages"],
    "properties": {
        "main_score": {"type": "number", "minimum": 0, "maximum": 1},
        "hf_subset": {"type": "string"},
        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{3}-[A-Z][a-z]{3}$"}},
    },
    "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
}
TASK_RESULT = {  # mteb's TaskResult, from its documentation
    "type": "object",
    "required": ["dataset_revision", "task_name", "mteb_version", "scores", "evaluation_time"],
    "additionalProperties": False,
    "properties": {
        "dataset_revision": {"type": "string"},
        "task_name": {"type": "string"},
        "mteb_version": {"type": ["string", "null"]},
        "scores": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array", "items": SCORES}},
        "evaluation_time": {"type": ["number", "null"]},
        "kg_co2_emissions": {"type": ["number", "null"]},
        "date": {"type": ["number", "null"]},
    },
}


def test_results_have_the_shape_of_mtebs():
    store = Store()
    record = store.add(0.25, benchmarks=("f30k-1k",), encode_seconds=1.5, score_seconds=0.5)
    found = mteb_results(record, store.details[record.id])
    assert list(found) == ["Flickr30kI2TRetrieval", "Flickr30kT2IRetrieval"]
    for name, content in found.items():
        jsonschema.validate(content, TASK_RESULT)
        (scores,) = content["scores"]["test"]
        assert content["task_name"] == name
        assert [scores[f"cv_recall_at_{k}"] for k in (1, 5, 10)] == [0.25] * 3
        assert content["evaluation_time"] == 2


def test_means_over_folds_are_not_mtebs():
    store = Store()
    record = store.add(benchmarks=("coco-1k",), folds=5)
    with pytest.raises(RunError, match="means over folds alone"):
        mteb_results(record, store.details[record.id])


def test_ndcg_is_that_of_the_ten_best():
    owner = np.repeat(np.arange(3), 2)
    details = ranked_details(np.eye(3)[:, owner] + 0.01 * np.arange(6), owner)
    assert (ndcg(details, "i2t"), ndcg(details, "t2i")) == (1, 1)
    similarity = np.array([[9, 1, 2, 3], [4, 3, 2.5, 1]])  # own captions at places 1 and 4, and at 3 and 4
    details = ranked_details(similarity, np.array([0, 0, 1, 1]))
    gains = 1 / np.log2(np.arange(4) + 2)
    expected = np.mean([gains[0] + gains[3], gains[2] + gains[3]]) / (gains[0] + gains[1])
    assert ndcg(details, "i2t") == pytest.approx(expected, abs=1e-6)
    assert ndcg(details, "t2i") == pytest.approx((1 + gains[1]) / 2, abs=1e-6)  # every other own image is second
