"""A record as a model card: the hub's own classes read it back."""

from huggingface_hub import ModelCard

from itm_harness.benchmarks.records.model_card import model_card
from itm_tests.stores import Store

WEIGHTS = {
    "checkpoint": {"file": "x/best.safetensors", "sha256": "0" * 64},
    "pretrained": {"text.bert/a.bin": "1" * 64},
}


def test_a_model_card_is_read_back_by_the_hubs_classes():
    record = Store().add(0.25, benchmarks=("coco-1k", "coco-5k"), dataset="coco", command="itm run --x", **WEIGHTS)
    card = ModelCard(model_card(record))
    assert (card.data.model_name, card.data.library_name) == (record.id, "itm-harness")
    found = {(r.dataset_config, r.task_type, r.metric_name): r.metric_value for r in card.data.eval_results}
    assert len(found) == len(card.data.eval_results) == 12
    assert found["coco-5k", "text-to-image-retrieval", "R@5"] == 25
    for part in ("| coco-1k | 25.0 |", "`itm run --x`", "0" * 64, "`text.bert/a.bin`: SHA-256", '"lr": 0.0005'):
        assert part in card.text
