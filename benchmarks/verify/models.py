"""What the cases of whole models share: batches, the imported model, losses, gradients, training steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm_harness.benchmarks.protocol.evaluate import similarity_matrix
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.protocol import compare_evaluation
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Method, MethodConfig, Progress, Terms
from itm_harness.methods.importing import import_checkpoint, read_checkpoint
from itm_harness.methods.official import Tensors
from itm_harness.methods.parts.encoded import Encoded
from itm_harness.methods.recipe import Optim

NO_GRADIENT = -1.0
CAPTIONS_PER_IMAGE = 5


@dataclass
class Model:
    """The imported method, and its parameters under their official names. start: what the official files hold."""

    case: Case
    method: Method
    start: Tensors

    def fresh(self) -> Model:
        """A copy to train, so that batch statistics and steps of one check leave the next alone."""
        return Model(self.case, copy.deepcopy(self.method), self.start)

    def parameter(self, name: str) -> nn.Parameter | None:
        """Our parameter of that official name, None where ours has no use for it."""
        return dict(self.method.named_parameters()).get(self.method.official.our_name(name))

    def value(self, name: str) -> Tensor:
        """The parameter's value; of one that ours has no use for, the value in the file."""
        ours = self.parameter(name)
        return self.start[name] if ours is None else ours.detach()


def load_model(case: Case, method: type[Method], extra: Tensors | None = None, **config: Any) -> Model:
    """Import the case's checkpoint. extra: tensors that official files lack. config: values beyond the file's."""
    parts, _ = read_checkpoint(case.checkpoint)
    start = {f"{p}.{n}": t for p, state in zip(method.official.parts, parts, strict=True) for n, t in state.items()}
    model = import_checkpoint(case.checkpoint, method, case_config(case, method, **config), extra)
    return Model(case, model.eval(), start | (extra or {}))


def case_config(case: Case, method: type[Method], **values: Any) -> MethodConfig:
    """The method's configuration, with the sizes of the case's BERT, if any: its number of heads is in no tensor."""
    sizes = case.config.get("bert")
    dropout = {name: case.config.get("bert_dropout", 0.0) for name in BERT_DROPOUTS}
    text = {"bert": "bert-base-uncased", "bert_sizes": {**dropout, **sizes}} if sizes else {}
    return method.Config.model_validate({"text": text, **values})


BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def images(case: Case, name: str, ids: Tensor | None = None) -> ImageBatch:
    """`<name>/images` and `<name>/image_lengths`. ids: None = their positions."""
    regions = case.input(f"{name}/images")
    ids = torch.arange(len(regions)) if ids is None else ids
    return ImageBatch(ids, regions, case.input(f"{name}/image_lengths"))


def texts(case: Case, name: str, image_ids: Tensor | None = None) -> TextBatch:
    """`<name>/captions` and `<name>/caption_lengths`. image_ids: None = five captions per image."""
    words = case.input(f"{name}/captions")
    positions = torch.arange(len(words))
    image_ids = positions // CAPTIONS_PER_IMAGE if image_ids is None else image_ids
    return TextBatch(positions, image_ids, words, case.input(f"{name}/caption_lengths"))


def pairs(case: Case, name: str) -> Batch:
    """The training batch `<name>`."""
    ids = case.input(f"{name}/img_ids")
    return Batch(images(case, name, ids), texts(case, name, ids))


@torch.no_grad()
def compare_gallery(model: Model, image_batch: ImageBatch, text_batch: TextBatch) -> Tensor:
    """Similarities, recalls and ranks of the gallery as sims/*, encoded in batches as the official evaluation does."""
    case, method = model.case, model.method
    size = case.setting("eval_batch_size")
    encoded_images = Encoded.concatenate([method.encode_images(part) for part in in_parts(image_batch, size)])
    encoded_texts = Encoded.concatenate([method.encode_texts(part) for part in in_parts(text_batch, size)])
    similarity = similarity_matrix(method, encoded_images, encoded_texts)
    case.compare("sims/sims", similarity)
    compare_evaluation(case, "sims/", evaluate_matrix(similarity, text_batch.image_ids))
    return similarity


def in_parts(batch: ImageBatch | TextBatch, size: int) -> Iterator[ImageBatch | TextBatch]:
    """Consecutive parts of at most `size` items. Ragged sidecars are not cut."""
    for start in range(0, len(batch), size):
        rows = slice(start, start + size)
        tensors = {name: value[rows] for name, value in vars(batch).items() if isinstance(value, Tensor)}
        yield type(batch)(**tensors, sidecars={name: value[rows] for name, value in batch.sidecars.items()})


def compare_loss(model: Model, phase: str, progress: Progress, terms: dict[str, str]) -> Terms:
    """Loss terms of batch0 in train mode and their gradients, as `<phase>/*`.

    terms: name in the case → name of our loss term. Returns the features.
    """
    trained = model.fresh()
    trained.method.train()
    batch = pairs(model.case, "batch0")
    features = trained.method.features(batch)
    found = trained.method.objective(features, batch.texts.image_ids, progress)
    for official, ours in terms.items():
        model.case.compare(f"{phase}/{official}", found[ours])
    found["total"].backward()
    compare_gradients(trained, phase)
    return features


def compare_gradients(model: Model, phase: str) -> None:
    """`<phase>/grad_norm`, `grad_total_norm` and `grad/NAME`."""
    case, names = model.case, model.case.about["param_names"]
    gradients = [None if p is None else p.grad for p in map(model.parameter, names)]
    norms = np.array([NO_GRADIENT if g is None else float(g.double().norm()) for g in gradients])
    compare_norms(case, f"{phase}/grad_norm", norms)
    case.compare(f"{phase}/grad_total_norm", float(np.linalg.norm(norms[norms != NO_GRADIENT])))
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is not None:
            case.compare(f"{phase}/grad/{name}", gradient)


def compare_norms(case: Case, name: str, norms: np.ndarray) -> None:
    """Gradient norms, relatively, as golden/README.md says; parameters whose true gradient is zero do not count."""
    if not case.expects(name):
        return
    expected = case.expected[name].astype(np.float64)
    relative = max(1e-3, 20 * case.about.get("grad_norm_relative_deviation", {}).get(name, 0))
    tolerance = 1e-6 + relative * np.maximum(expected, 0)
    one_lacks = (norms == NO_GRADIENT) != (expected == NO_GRADIENT)
    case.compare_within(name, np.where(one_lacks, np.inf, norms), tolerance, counts(case))


def counts(case: Case) -> np.ndarray:
    """(n,) bool: the parameters of `param_names` whose gradient is more than rounding noise."""
    return ~np.isin(case.about["param_names"], case.about.get("noise_gradient_params", []))


def compare_steps(
    model: Model, optim: Optim, steps: list[Progress], make_batch: Callable[[Case, str], Batch] = pairs
) -> Model:
    """Train on batch1, batch2, … as the engine does; steps/* and the parameters after/*. Returns the trained model."""
    case, trained = model.case, model.fresh()
    method = trained.method
    optimizer = build_optimizer(method, optim)
    losses, norms, rates = [], [], []
    for number, progress in enumerate(steps, 1):
        method.train()
        method.before_step(progress)
        optimizer.zero_grad(set_to_none=True)
        total = method(make_batch(case, f"batch{number}"), progress)["total"]
        total.backward()
        losses.append(total.item())
        norms.append(float(nn.utils.clip_grad_norm_(method.parameters(), optim.grad_clip)))
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        method.after_step(progress)
    method.eval()
    case.compare("steps/loss", losses)
    case.compare("steps/grad_total_norm", norms)
    case.compare("steps/lr", rates)
    compare_parameters(trained)
    return trained


def compare_parameters(trained: Model) -> None:
    """after/param_norm and after/delta_norm; parameters that only rounding noise moves do not count."""
    case, names = trained.case, trained.case.about["param_names"]
    after = {name: trained.value(name).double() for name in names}
    found = {
        "after/param_norm": [after[name].norm() for name in names],
        "after/delta_norm": [(after[name] - trained.start[name].double()).norm() for name in names],
    }
    for quantity, norms in found.items():
        if case.expects(quantity):
            tolerance = np.broadcast_to(case.tolerance(quantity), len(names))
            case.compare_within(quantity, np.array([float(norm) for norm in norms]), tolerance, counts(case))
