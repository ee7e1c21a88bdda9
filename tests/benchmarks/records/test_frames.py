"""Records as a frame: a row per record and benchmark, with the numbers of the record."""

from itm_harness.benchmarks.records.frames import COLUMNS, records_frame
from itm_tests.stores import Store


def test_every_benchmark_of_a_record_has_a_row():
    store = Store()
    record = store.add(0.4, benchmarks=("coco-1k", "coco-5k"), seed=3, flags=["ensemble"], overrides={"optim.lr": 1})
    other = store.add(0.8, seed=None)
    frame = records_frame(store.records)
    assert tuple(frame.columns) == COLUMNS
    assert list(zip(frame.id, frame.benchmark, strict=True)) == [
        (record.id, "coco-1k"), (record.id, "coco-5k"), (other.id, "f8k-1k"),
    ]  # fmt: skip
    assert frame.rsum.tolist() == [m.rsum for r in (record, other) for m in r.metrics.values()]
    assert frame.i2t_r1.tolist() == [40, 40, 80]
    assert frame.t2i_mean[0] == record.metrics["coco-1k"].t2i.mean
    assert (frame.seed[0], frame["flags"][0], frame.overrides[0]) == (3, "ensemble", {"optim.lr": 1})
    assert frame.seed.isna().tolist() == [False, False, True]


def test_no_record_is_a_frame_with_the_same_columns():
    assert tuple(records_frame([]).columns) == COLUMNS
