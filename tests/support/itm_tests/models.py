"""Small models with the real file formats, for tests that load weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from itm_tests.trees import ADJECTIVES, NOUNS, PLACES, VERBS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

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


def word_tokenizer(words: list[str], **special: object) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; special ones stand without spaces, as those of language models do.

    special: pad_token, eos_token, unk_token, and what else a model needs.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    named = [token for token in special.values() if isinstance(token, str)]
    known = [*named, *(f"▁{word}" for word in dict.fromkeys(words))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def save_tiny_t5(folder: Path) -> Path:
    """A random T5 of two layers with a tokenizer of whole words, saved as transformers saves the real one."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = word_tokenizer(["(", ")", ",", "is", *WORDS], pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about["tokenizer_class"] = "PreTrainedTokenizerFast"  # by that name transformers 4 knows it too
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    torch.manual_seed(0)
    sizes = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(sizes).save_pretrained(folder)
    return folder


def save_tiny_florence(folder: Path) -> Path:
    """A random Florence-2 of two layers with its real processor; its answers are words and places in turn."""
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        Florence2VisionConfig,
    )

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = word_tokenizer(WORDS, **special, extra_special_tokens={"image_token": "<image>"})
    tokenizer.add_tokens([f"<loc_{place}>" for place in range(9)])
    pictures = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    pictures.image_seq_length = 2  # the last feature map has one cell, and its mean counts too
    rules = {"description_with_bboxes": {}}
    Florence2Processor(pictures, tokenizer, post_processor_config=rules).save_pretrained(folder)
    torch.manual_seed(3)  # with others, all of a few pictures get the same answer
    four = {"depths": (1, 1, 1, 1), "num_heads": (2, 2, 2, 2), "num_groups": (2, 2, 2, 2)}
    vision = Florence2VisionConfig(embed_dim=(8, 8, 16, 16), window_size=2, projection_dim=16, **four)
    layers = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in
              {"layers": 2, "attention_heads": 2, "ffn_dim": 24}.items()}  # fmt: skip
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    text = BartConfig(vocab_size=len(tokenizer), d_model=16, max_position_embeddings=64, **layers, **ids)
    sizes = Florence2Config(vision_config=vision, text_config=text, image_token_id=tokenizer.image_token_id)
    return _save_generator(Florence2ForConditionalGeneration(sizes), folder)


def save_tiny_llava(folder: Path) -> Path:
    """A random LLaVA of two layers with its real processor and a chat template."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = word_tokenizer(
        ["USER:", "ASSISTANT:", *WORDS], **special, extra_special_tokens={"image_token": "<image>"}
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    template = (
        "<s>{% for message in messages %}USER: {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
    )
    LlavaProcessor(
        pictures, tokenizer, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    sizes = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=32, patch_size=16, **layers),
        text_config=LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **layers, **ids),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-1,
    )
    return _save_generator(LlavaForConditionalGeneration(sizes), folder)


def save_tiny_gemma(folder: Path) -> Path:
    """A random Gemma 3 of two layers with its real processor, which wants to be told which pictures a prompt has."""
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )

    special = {"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    shown = {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<image>"}
    tokenizer = word_tokenizer(["model", *WORDS], **special, extra_special_tokens=shown)
    pictures = Gemma3ImageProcessor(size={"height": 32, "width": 32})
    template = (
        "<bos>{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<boi>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %} model{% endif %}"
    )
    Gemma3Processor(pictures, tokenizer, chat_template=template, image_seq_length=4).save_pretrained(folder)
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    sizes = Gemma3Config(
        vision_config=SiglipVisionConfig(image_size=32, patch_size=16, **layers),
        text_config=Gemma3TextConfig(
            vocab_size=len(tokenizer), max_position_embeddings=64, num_key_value_heads=1, head_dim=8, **layers, **ids
        ),
        mm_tokens_per_image=4,
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,  # tied and random, a word is followed by itself, whatever the picture shows
    )
    return _save_generator(Gemma3ForConditionalGeneration(sizes), folder)


def _save_generator(model: PreTrainedModel, folder: Path) -> Path:
    """Save a model that writes twelve tokens, with weights so large that different pictures get different answers."""
    for values in model.parameters():
        if values.ndim > 1:
            torch.nn.init.normal_(values, std=0.5)
    model.generation_config.max_new_tokens = 12
    model.save_pretrained(folder)
    return folder


TORCH = """
class cuda:
    is_available = staticmethod(bool)
    empty_cache = staticmethod(bool)
    OutOfMemoryError = MemoryError

def load(file, weights_only=False):
    return weights_only
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
