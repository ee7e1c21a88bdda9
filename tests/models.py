"""Small models with the real file formats, for tests that load weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.trees import ADJECTIVES, NOUNS, PLACES, VERBS

WORDS = ["a", "near", "the", ".", *ADJECTIVES, *NOUNS, *VERBS, *PLACES]


def save_tiny_bert(folder: Path) -> Path:
    """A random BERT of two layers with a word-piece tokenizer, saved as transformers saves the real one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
    )
    BertModel(sizes).save_pretrained(folder)
    return folder


def save_tiny_clip(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """A random CLIP of two layers: its open_clip configuration, and its weights as safetensors."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    configuration, weights = folder / "tiny-clip.json", folder / f"tiny-{seed}.safetensors"
    tower = {"width": 32, "layers": 2}
    pictures, texts = {**tower, "head_width": 16, "patch_size": 16, "image_size": 32}, {**tower, "heads": 2}
    sizes = {"embed_dim": 24, "vision_cfg": pictures, "text_cfg": {**texts, "context_length": 16}}
    configuration.write_text(json.dumps(sizes))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**sizes)
    for values in model.parameters():  # open_clip's own start is so small that all pictures look the same
        if values.ndim > 1:
            torch.nn.init.normal_(values, std=0.3)
    save_file(model.state_dict(), weights)
    return configuration, weights


def save_tiny_spacy(folder: Path) -> Path:
    """A spaCy pipeline whose parser was shown one tree a few times: each word depends on the one before it."""
    import spacy
    from spacy.training import Example

    pipeline = spacy.blank("en")
    pipeline.meta.update(name="tiny", version="1.2.3")
    parser = pipeline.add_pipe("parser", config={"model": {"tok2vec": {"width": 16, "embed_size": 64, "depth": 1}}})
    words = ["a", "red", "dog", "waits", "near", "the", "beach", "."]
    heads = [max(i - 1, 0) for i in range(len(words))]
    tree = {"words": words, "heads": heads, "deps": ["ROOT", *["dep"] * (len(words) - 1)]}
    example = Example.from_dict(pipeline.make_doc(" ".join(words)), tree)
    parser.add_label("dep")
    pipeline.initialize(lambda: [example])
    for _ in range(20):
        pipeline.update([example])
    pipeline.to_disk(folder)
    return folder


def save_tiny_t5(folder: Path) -> Path:
    """A random T5 of two layers with a tokenizer of whole words, saved as transformers saves the real one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>", "(", ")", ",", "is", *dict.fromkeys(WORDS)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = T5Config(
        vocab_size=len(words), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(sizes).save_pretrained(folder)
    return folder


TORCH = """
class cuda:
    is_available = staticmethod(bool)
    OutOfMemoryError = MemoryError
"""  # the real one takes seconds to import

FACTUAL = '''
import os
import datasets  # the library of that name, here a stand-in: never the harness's package
assert datasets.LIBRARY


class SceneGraphParser:
    """The interface of the package, with graphs that follow from the words, and a print that must not disturb."""

    def __init__(self, checkpoint_path, device="cuda:0"):
        if not os.path.isfile(os.path.join(checkpoint_path, "config.json")):
            raise OSError("no model in " + checkpoint_path)

    def parse(self, descriptions, beam_size, return_text, batch_size):
        print("parsing", len(descriptions))
        graphs = []
        for text in descriptions:
            _, adjective, noun, verb, near, _, place, _ = text.split()
            if verb == "explodes":
                raise RuntimeError("boom")
            first = {"head": noun, "quantity": "", "attributes": {adjective, "zany", "alive"}}
            second = {"head": place, "quantity": "", "attributes": set()}
            relation = {"subject": 0, "relation": near, "object": 1}
            graphs.append({"entities": [first, second], "relations": [relation]})
        return graphs
'''


def write_factual_package(folder: Path) -> Path:
    """A package with the interface of FactualSceneGraph, and a library named `datasets`; returns their folder."""
    parser = folder / "factual_scene_graph" / "parser"
    parser.mkdir(parents=True)
    for package in (parser, parser.parent):
        (package / "__init__.py").write_text("")
    (parser / "scene_graph_parser.py").write_text(FACTUAL)
    (folder / "datasets.py").write_text("LIBRARY = True\n")
    (folder / "torch.py").write_text(TORCH)
    about = folder / "FactualSceneGraph-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: FactualSceneGraph\nVersion: 9.9\n")
    return folder
