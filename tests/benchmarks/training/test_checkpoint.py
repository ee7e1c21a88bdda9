"""Checkpoints: what is read equals what was written; damage and misfits are named."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.training.checkpoint import (
    FORMAT,
    Snapshot,
    TrainingCheckpoints,
    load_model,
    read_about,
    save_model,
)


def trained(width=3, seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width))
    optimizer = torch.optim.AdamW([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters()}])
    for _ in range(3):
        model(torch.randn(4, 2)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def test_model_and_optimiser_come_back_bit_for_bit(tmp_path):
    model, optimizer = trained()
    checkpoints = TrainingCheckpoints(tmp_path / "checkpoints")
    checkpoints.save(7, model, optimizer, {"epoch": 2, "order": [3, 1]})
    other, other_optimizer = trained(seed=1)
    state = checkpoints.load_newest(other, other_optimizer)
    assert state == {"epoch": 2, "order": [3, 1]}
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    for m, o in ((model, optimizer), (other, other_optimizer)):
        torch.manual_seed(5)
        m(torch.randn(4, 2)).square().sum().backward()
        o.step()
    assert torch.equal(model[0].weight, other[0].weight)  # the moments and step counts were restored too


def convolutions(seed):
    """A small network whose weights are channels_last, as those of backbones, and a number that is trained."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 2))
    model.to(memory_format=torch.channels_last)
    model.register_parameter("scale", torch.nn.Parameter(torch.rand(())))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)


def convolve(model, optimizer, step):
    pictures = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
    (model(pictures) * model.scale).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_moments_of_weights_in_channels_last_come_back_in_their_places(tmp_path):
    model, optimizer = convolutions(0)
    for step in range(2):
        convolve(model, optimizer, step)
    checkpoints = TrainingCheckpoints(tmp_path)
    checkpoints.save(2, model, optimizer, {})
    other, other_optimizer = convolutions(1)
    checkpoints.load_newest(other, other_optimizer)
    for m, o in ((model, optimizer), (other, other_optimizer)):
        convolve(m, o, 2)
    assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_a_snapshot_keeps_what_training_changes_in_place_afterwards(tmp_path):
    model, optimizer = trained()
    at_once, later = TrainingCheckpoints(tmp_path / "at-once"), TrainingCheckpoints(tmp_path / "later")
    at_once.save(7, model, optimizer, {})
    frozen = Snapshot(model), Snapshot(optimizer)
    optimizer.param_groups[0]["lr"] = 1.0
    model(torch.randn(4, 2)).square().sum().backward()  # BatchNorm's statistics change here, the rest in the step
    optimizer.step()
    later.save(7, *frozen, {})
    for file in ("model.safetensors", "optimizer.safetensors", "state.json"):
        one, other = (folder.all()[0] / file for folder in (at_once, later))
        assert one.read_bytes() == other.read_bytes()


def test_the_newest_two_are_kept_and_an_unfinished_one_is_ignored(tmp_path):
    model, optimizer = trained()
    checkpoints = TrainingCheckpoints(tmp_path)
    for step in (1, 20, 3):
        checkpoints.save(step, model, optimizer, {"step": step})
    (tmp_path / "step-00000099.part").mkdir()
    assert [p.name for p in checkpoints.all()] == ["step-00000003", "step-00000020"]
    assert checkpoints.load_newest(model, optimizer)["step"] == 20


def test_saving_a_step_again_never_leaves_half_of_it(tmp_path, monkeypatch):
    """Killed while the older folder of the same step is removed: the newer one is already in its place."""
    model, optimizer = trained()
    checkpoints = TrainingCheckpoints(tmp_path)
    checkpoints.save(7, model, optimizer, {"save": 1})
    remove = shutil.rmtree

    def killed(folder, ignore_errors):
        if folder.exists() and folder.name != "step-00000007.part":
            (folder / "model.safetensors").unlink()
            raise KeyboardInterrupt
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(7, model, optimizer, {"save": 2})
    monkeypatch.undo()
    assert checkpoints.load_newest(model, optimizer) == {"save": 2}
    checkpoints.save(8, model, optimizer, {"save": 3})
    assert not list(tmp_path.glob("*.part"))  # what the killed save left behind is swept


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert TrainingCheckpoints(tmp_path / "none").load_newest(*trained()) is None


ABOUT = {
    "method": "gpo", "variant": "", "dataset": "f30k", "config": {"embed_size": 8}, "vocabulary": ["ä", "b"],
    "seed": 1, "code_hash": "c", "epoch": 3, "dev_rsum": 100.5,
}  # fmt: skip


def test_a_model_file_says_what_it_is(tmp_path):
    model, _ = trained()
    save_model(tmp_path / "best.safetensors", model, ABOUT)
    assert read_about(tmp_path / "best.safetensors") == ABOUT
    other, _ = trained(seed=1)
    load_model(tmp_path / "best.safetensors", other)
    assert torch.equal(other[1].running_mean, model[1].running_mean)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    written = set()
    for number in range(10):
        save_model(tmp_path / f"{number}.safetensors", trained()[0], ABOUT)
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1


def test_model_files_of_before_are_read(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "old.safetensors", {"format": FORMAT, "about": json.dumps(ABOUT)})
    assert read_about(tmp_path / "old.safetensors") == ABOUT


def test_a_model_of_other_sizes_is_named(tmp_path):
    model, _ = trained()
    save_model(tmp_path / "best.safetensors", model, {})
    with pytest.raises(RunError, match=r"of another shape \['0.bias', '0.weight'"):
        load_model(tmp_path / "best.safetensors", trained(width=4)[0])
    with pytest.raises(RunError, match=r"missing \['bias', 'weight'\]"):
        load_model(tmp_path / "best.safetensors", torch.nn.Linear(2, 3))


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x00" * 100])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"best.safetensors is corrupt"):
        read_about(tmp_path / "best.safetensors")
    with pytest.raises(RunError, match=r"best.safetensors is corrupt"):
        load_model(tmp_path / "best.safetensors", trained()[0])


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(RunError, match="not written by this harness"):
        read_about(tmp_path / "other.safetensors")
