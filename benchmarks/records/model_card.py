"""A record as a model card of the Hugging Face hub: README.md beside a checkpoint, its metadata as the hub reads them.

Documented at https://huggingface.co/docs/hub/model-cards and .../docs/huggingface_hub/package_reference/cards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from itm_harness.benchmarks.records.schema import Metrics, Record

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

DIRECTIONS = {"i2t": ("image-to-text-retrieval", "Image → text"), "t2i": ("text-to-image-retrieval", "Text → image")}
LIBRARY = "itm-harness"

BODY = """
# {record.id}

{what}, trained and measured by {library} under one protocol for all methods.

| benchmark | i2t R@1 | R@5 | R@10 | t2i R@1 | R@5 | R@10 | rsum |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

One seed ({record.seed}); the tested epoch was chosen by: {record.selection}.{flags}

## Use

```bash
{use}
```
{checkpoint}
## How it came about

`{record.command}`

- code: revision {record.code.commit}{dirty}, hash `{record.code_hash}`
- data: {record.dataset}, fingerprint `{record.data_fingerprint}`
- {hardware}; {versions}
{pretrained}
<details><summary>Resolved recipe</summary>

```json
{recipe}
```

</details>
"""


def model_card(record: Record) -> str:
    """The card's text: metadata in YAML between two lines of dashes, then Markdown."""
    from huggingface_hub import ModelCard, ModelCardData  # heavy

    data = ModelCardData(
        language="en",
        library_name=LIBRARY,
        tags=["image-text-matching", "image-text-retrieval", record.method],
        metrics=["recall"],
        model_name=record.id,
        eval_results=[result for name, m in record.metrics.items() for result in _eval_results(record, name, m)],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{_body(record)}", ignore_metadata_errors=False))


def _eval_results(record: Record, benchmark: str, metrics: Metrics) -> Iterator[EvalResult]:
    """One per direction and recall, in percent."""
    from huggingface_hub import EvalResult

    for side, (task, title) in DIRECTIONS.items():
        for k in (1, 5, 10):
            yield EvalResult(
                task_type=task,
                task_name=f"{title} retrieval",
                dataset_type=record.dataset,
                dataset_name=benchmark,
                dataset_config=benchmark,
                dataset_split="test",
                metric_type="recall",
                metric_name=f"R@{k}",
                metric_config=f"at {k}",
                metric_value=round(getattr(getattr(metrics, side), f"r{k}"), 4),
            )


def _body(record: Record) -> str:
    named = [f"{name} {version}" for name, version in record.versions.items() if name in ("python", "torch")]
    weights = [f"- pre-trained weights `{name}`: SHA-256 `{digest}`\n" for name, digest in record.pretrained.items()]
    checkpoint = f"\nSHA-256 of the checkpoint: `{record.checkpoint.sha256}`.\n" if record.checkpoint else ""
    return BODY.format(
        record=record,
        library=LIBRARY,
        what=" ".join(part for part in (record.method, record.variant) if part) + f" on {record.dataset}",
        rows="\n".join(_row(name, metrics) for name, metrics in record.metrics.items()),
        flags=f" Flags: {', '.join(record.flags)}." if record.flags else "",
        use=f"itm evaluate --method {record.method} --dataset {record.dataset} --checkpoint best.safetensors",
        checkpoint=checkpoint,
        dirty=" with changes" if record.code.dirty else "",
        hardware=record.hardware.device if record.hardware.device != "CPU" else record.hardware.cpu,
        versions=", ".join(named),
        pretrained="".join(weights),
        recipe=json.dumps(record.recipe, indent=1, ensure_ascii=False),
    )


def _row(benchmark: str, metrics: Metrics) -> str:
    recalls = [getattr(side, f"r{k}") for side in (metrics.i2t, metrics.t2i) for k in (1, 5, 10)]
    return f"| {benchmark} | {' | '.join(f'{value:.1f}' for value in (*recalls, metrics.rsum))} |"
