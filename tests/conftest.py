"""What several test files share."""

import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client: tests never ask the network

import pytest
from accelerate.state import AcceleratorState
from hypothesis.configuration import set_hypothesis_home_dir
from rich.console import Console

from itm_tests.models import save_tiny_bert, save_tiny_clip, save_tiny_florence, save_tiny_llava

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "itm-harness-hypothesis")  # else it writes into the checkout


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """Folder of a random BERT of two layers."""
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Configuration and weights of a random CLIP of two layers."""
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny_florence(tmp_path_factory):
    """Folder of a random Florence-2 of two layers."""
    return save_tiny_florence(tmp_path_factory.mktemp("florence") / "tiny-florence")


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory):
    """Folder of a random LLaVA of two layers."""
    return save_tiny_llava(tmp_path_factory.mktemp("llava") / "tiny-llava")


@pytest.fixture
def accelerator():
    """accelerate on the CPU; its process-wide state is reset, so that every test may choose a precision."""
    from itm_harness.benchmarks.training.engine import make_accelerator

    AcceleratorState._reset_state(reset_partial_state=True)
    yield make_accelerator("cpu", "fp32")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def quiet():
    """A console that keeps what it is told: `quiet.file.getvalue()`."""
    import io

    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def direct(tiny_clip):
    """open_clip itself: the model with its weights, the validation transformation and the tokenizer."""
    import open_clip

    configuration, weights = tiny_clip
    open_clip.add_model_config(configuration)
    model, _, transform = open_clip.create_model_and_transforms(configuration.stem, pretrained=str(weights))
    return model.eval(), transform, open_clip.get_tokenizer(configuration.stem)
