"""The demo data set: the same bytes each time, true captions, proper trees, real twins."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from nltk import word_tokenize
from PIL import Image

from itm_harness.datasets.demo import words
from itm_harness.datasets.demo.captions import five_captions
from itm_harness.datasets.demo.draw import FILLS, draw
from itm_harness.datasets.demo.regions import REGIONS, WIDTH, region_features
from itm_harness.datasets.demo.scenes import CANVAS, Kind, boxes, is_valid, place, sample_scenes
from itm_harness.datasets.demo.syntax import Phrase, leaves, linearise, prepositional
from itm_harness.datasets.demo.vectors import CLIP_WIDTH, SENTENCE_WIDTH
from itm_harness.datasets.demo.write import SEED, write_demo

TINY = {"train": 40, "dev": 10, "test": 20}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(400, np.random.default_rng(3))


def read_lines(root, name):
    return (root / "demo/precomp" / name).read_text(encoding="utf-8").splitlines()


def read_json(root, name):
    return json.loads((root / "demo/precomp" / name).read_text(encoding="utf-8"))


def read_array(root, name):
    return np.load(root / "demo/precomp" / name, allow_pickle=False)


def files_of(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# Files


def test_same_bytes_in_another_process(root, tmp_path):
    code = f"import pathlib, itm_harness.datasets.demo.write as demo; demo.write_demo(pathlib.Path('.'), {TINY})"
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert files_of(tmp_path) == files_of(root)


@pytest.mark.parametrize("split", TINY)
def test_shapes_and_counts(root, split):
    images, captions = TINY[split], 5 * TINY[split]
    shapes = {
        "ims": (images, REGIONS, WIDTH),
        "ims_bbx": (images, REGIONS, 4),
        "aux_cap_bge_flor_det": (captions, SENTENCE_WIDTH),
        "aux_cap_bge_cpm_full" + ("" if split == "train" else "_1"): (captions, SENTENCE_WIDTH),
        "cap_bge": (captions, SENTENCE_WIDTH),
        "cap_bge_cpm": (captions, SENTENCE_WIDTH),
        "caps_synthesis_florence_bge_det": (captions, SENTENCE_WIDTH),
        "caps_bge_det": (captions, SENTENCE_WIDTH),
        "caps_entities_bge": (captions, 16, SENTENCE_WIDTH),
        "clip_simulated_ims": (images, CLIP_WIDTH),
        "clip_simulated_caps": (captions, CLIP_WIDTH),
    }
    for name, shape in shapes.items():
        (path,) = (root / "demo/precomp").rglob(f"{split}_{name}.npy")
        values = np.load(path, allow_pickle=False)
        assert (values.shape, values.dtype) == (shape, np.float32), name
        assert np.isfinite(values).all(), name
    for name in ("caps.txt", "ids.txt"):
        assert len(read_lines(root, f"{split}_{name}")) == captions
    for name in ("descriptions.txt", "descriptions_dagger.txt"):
        assert len(read_lines(root, f"{split}_{name}")) == images
        assert all(read_lines(root, f"{split}_{name}"))


def test_ids_lead_to_pictures(root):
    mapping = json.loads((root / "demo/id_mapping.json").read_text())
    ids = {split: read_lines(root, f"{split}_ids.txt") for split in TINY}
    for split, images in TINY.items():
        assert set(Counter(ids[split]).values()) == {5}
        assert len(set(ids[split])) == images
        assert ids[split] == sorted(ids[split], key=int)
    assert set().union(*ids.values()) == set(mapping)
    assert {path.name for path in (root / "demo/images").iterdir()} == set(mapping.values())
    with Image.open(root / "demo/images" / mapping["0"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (CANVAS, CANVAS))


def test_boxes_are_pixels_inside_the_picture(root):
    frames = read_array(root, "train_ims_bbx.npy")
    sizes = read_array(root, "train_ims_size.npy")
    assert (sizes["image_w"] == CANVAS).all()
    assert (sizes["image_h"] == CANVAS).all()
    assert (frames >= 0).all()
    assert (frames <= CANVAS).all()
    assert frames.max() > CANVAS / 2
    assert (frames[..., 2:] > frames[..., :2]).all()


def test_vocabulary_is_small_and_varied(scenes):
    rng = np.random.default_rng(0)
    counts = Counter(w.lower() for scene in scenes for caption in five_captions(scene, rng) for w in caption.words)
    assert 150 <= len(counts) <= 300


# Captions


def test_dependencies_are_trees_over_nltk_tokens(root):
    captions, trees = read_lines(root, "train_caps.txt"), read_json(root, "train_caps.json")
    assert len(captions) == len(trees)
    for caption, pairs in zip(captions, trees, strict=True):
        tokens = word_tokenize(caption.lower(), preserve_line=True)
        heads = {dependent: head for head, dependent in pairs}
        assert pairs[0][0] == 0
        assert sorted(heads) == list(range(1, len(tokens) + 1)), caption
        for start in heads:
            node, steps = start, 0
            while node and steps <= len(tokens):
                node, steps = heads[node], steps + 1
            assert node == 0, f"{caption}: a circle, or a second root"
        assert sum(head == 0 for head in heads.values()) == 1


def test_linearise_known_tree():
    square = Phrase("square", leaves("a blue"))
    root = prepositional("to the *left of", square)
    root.before[:0] = [Phrase("circle", leaves("a orange")), Phrase("is")]
    root.after.append(Phrase("."))
    tokens, pairs = linearise(root)
    assert " ".join(tokens) == "an orange circle is to the left of a blue square ."
    heads = {dependent: head for head, dependent in pairs}
    assert pairs[0] == [0, 7]
    assert heads == {1: 3, 2: 3, 3: 7, 4: 7, 5: 7, 6: 7, 7: 0, 8: 11, 9: 11, 10: 11, 11: 7, 12: 7}


def test_captions_of_an_image_differ_and_keep_human_case(root):
    captions = read_lines(root, "train_caps.txt")
    for start in range(0, len(captions), 5):
        assert len(set(captions[start : start + 5])) == 5
    assert all(caption[0].isupper() for caption in captions)
    assert 0.8 < np.mean([caption.endswith(" .") for caption in captions]) < 1


def readings(word):
    """What an adjective or a noun can mean: (attribute, value) pairs."""
    tables = {"shape": words.SHAPES, "colour": words.COLOURS, "size": words.SIZES, "texture": words.TEXTURES}
    pairs = [(name, value) for name, table in tables.items() for value, said in table.items() if word in said]
    return pairs + [("texture", value) for value, said in words.MARKS.items() if word in said]


def kinds(relation):
    """The relations that an expression can mean: those with the longest matching wording."""
    wordings = [(said.replace("*", ""), kind) for kind, options in words.PREPOSITIONS.items() for said in options]
    wordings += [(lemma, kind) for kind, verbs in words.ACTIVE.items() for lemma, _, _ in verbs]
    wordings += [(f"{verb} by", kind) for kind, verbs in words.PASSIVE.items() for verb in verbs]
    found = [(said, kind) for said, kind in wordings if f" {relation}".endswith(f" {said}")]
    longest = max(len(said) for said, _ in found)
    return {kind for said, kind in found if len(said) == longest}


def seen(scene):
    """Every (subject, relation, object) that holds, inverse and vague ones included."""
    facts = set()
    for r in scene.relations:
        names = {
            Kind.LEFT_OF: (Kind.LEFT_OF, Kind.RIGHT_OF),
            Kind.ABOVE: (Kind.ABOVE, Kind.BELOW),
            Kind.ON: (Kind.ON, Kind.UNDER),
            Kind.INSIDE: (Kind.INSIDE, Kind.AROUND),
        }[r.kind]
        facts |= {(r.subject, names[0], r.object), (r.object, names[1], r.subject)}
        if r.kind is Kind.LEFT_OF:
            facts |= {(r.subject, Kind.BESIDE, r.object), (r.object, Kind.BESIDE, r.subject)}
        if r.kind is Kind.ON:
            facts |= {(r.subject, Kind.ABOVE, r.object), (r.object, Kind.BELOW, r.subject)}
    return facts


def is_true(graph, scene):
    """Can the named entities be objects of the scene such that all that is said of them holds? Reads words only."""
    named, scenery = [], {}
    for index, entity in enumerate(graph["entities"]):
        count = set(entity["attributes"]) & set(words.NUMBERS.values())
        if count:
            other = "other" in entity["attributes"]
            if words.NUMBERS[len(scene.objects) - other] not in count:
                return False
        elif entity["name"] in (*words.BACKGROUND_NOUNS, "corner", "top", "bottom", "left", "right", "middle"):
            scenery[index] = entity
        else:
            named.append(index)
    facts, frames = seen(scene), boxes(scene)
    return any(
        holds(graph, dict(zip(named, chosen, strict=True)), scenery, scene, facts, frames)
        for chosen in permutations(range(len(scene.objects)), len(named))
    )


def holds(graph, chosen, scenery, scene, facts, frames):
    for index, which in chosen.items():
        entity = graph["entities"][index]
        said = [word for word in (entity["name"], *entity["attributes"]) if word not in words.ANY_SHAPE]
        if not all(any(getattr(scene.objects[which], n) == v for n, v in readings(w)) for w in said):
            return False
    for link in graph["relations"]:
        if link["object"] in scenery:
            there = scenery[link["object"]]
            if there["name"] in words.BACKGROUND_NOUNS:
                if there["attributes"][0] not in words.BACKGROUNDS[scene.background]:
                    return False
            elif not lies(there, frames[chosen[link["subject"]]]):
                return False
        elif not any((chosen[link["subject"]], k, chosen[link["object"]]) in facts for k in kinds(link["relation"])):
            return False
    return True


def lies(there, frame):
    """Is the middle of a box in the part of the picture that an entity like "top left corner" names?"""
    row, column = place(frame)
    said = (*there["attributes"], there["name"])
    if said == ("middle",):
        return (row, column) == ("middle", "centre")
    options = {*words.ROWS[row], *words.COLUMNS[column], "corner"}
    return all(word in options for word in said)


def test_captions_are_true_of_their_scene_and_tell_twins_apart(scenes):
    rng = np.random.default_rng(1)
    told = []
    for one, two in pairwise(scenes[:200]):
        graphs = [caption.graph() for caption in five_captions(one, rng)]
        for graph in graphs:
            assert is_true(graph, one), graph
        if is_twin(one, two):
            told += [not is_true(graph, two) for graph in graphs]
    assert 0.25 < np.mean(told) < 0.9


def test_captions_are_false_of_most_other_scenes(scenes):
    rng = np.random.default_rng(2)
    graphs = [caption.graph() for scene in scenes[:8] for caption in five_captions(scene, rng)]
    assert np.mean([is_true(graph, scene) for graph in graphs for scene in scenes[20:50]]) < 0.05


def test_graphs_belong_to_the_scenes_of_the_split(root):
    train = sample_scenes(TINY["train"], np.random.default_rng([SEED, 0, 0]))
    captions, graphs = read_lines(root, "train_caps.txt"), read_json(root, "train_graphs.json")
    for i, (caption, graph) in enumerate(zip(captions, graphs, strict=True)):
        assert graph["caption"] == caption
        assert is_true(graph, train[i // 5])


# Scenes


def is_twin(one, two):
    """Do two scenes differ in exactly one relation, or in one attribute that two objects exchange?"""
    if len(one.objects) != len(two.objects) or one.background != two.background:
        return False
    looks = [[(o.shape, o.colour, o.size, o.texture) for o in scene.objects] for scene in (one, two)]
    if looks[0] == looks[1]:
        return len(set(one.relations) ^ set(two.relations)) == 2
    changed = [(i, j) for i, pair in enumerate(zip(*looks, strict=True)) for j in range(4) if pair[0][j] != pair[1][j]]
    if one.relations != two.relations or len(changed) != 2 or changed[0][1] != changed[1][1]:
        return False
    (a, j), (b, _) = changed
    return looks[0][a][j] == looks[1][b][j] and looks[0][b][j] == looks[1][a][j]


def test_a_third_of_the_scenes_are_twins_and_all_differ(scenes):
    twins = [is_twin(one, two) for one, two in pairwise(scenes)]
    bindings = [one.relations == two.relations for (one, two), t in zip(pairwise(scenes), twins, strict=True) if t]
    assert 0.25 < 2 * sum(twins) / len(scenes) < 0.45
    assert 0.25 < np.mean(bindings) < 0.75
    assert len({scene.content for scene in scenes}) == len(scenes)
    assert {len(scene.objects) for scene in scenes} == {2, 3, 4, 5}


def test_relations_hold_in_the_picture(scenes):
    for scene in scenes:
        assert is_valid(scene)
        frames = boxes(scene)
        assert (frames >= -1).all()
        assert (frames <= CANVAS + 1).all()
        for r in scene.relations:
            (x1, y1, x2, y2), (u1, v1, u2, v2) = frames[r.subject], frames[r.object]
            expected = {
                Kind.LEFT_OF: x2 <= u1,
                Kind.ABOVE: y2 <= v1,
                Kind.ON: y2 == v1 and x1 < u2 and u1 < x2,
                Kind.INSIDE: x1 > u1 and y1 > v1 and x2 < u2 and y2 < v2,
            }
            assert expected[r.kind], (scene, r)


def test_objects_do_not_cover_each_other(scenes):
    for scene in scenes:
        frames = boxes(scene)
        together = {frozenset((r.subject, r.object)) for r in scene.relations if r.kind is Kind.INSIDE}
        guests = {r.subject for r in scene.relations if r.kind is Kind.INSIDE}
        for i in range(len(frames)):
            for j in range(i):
                overlap = np.minimum(frames[i, 2:], frames[j, 2:]) - np.maximum(frames[i, :2], frames[j, :2])
                if frozenset((i, j)) not in together and not {i, j} & guests:
                    assert overlap.min() <= 0, scene


def test_pictures_show_the_objects(scenes):
    checked = 0
    for scene in scenes[:100]:
        pixels = np.asarray(draw(scene))
        hosts = {r.object for r in scene.relations if r.kind is Kind.INSIDE}
        for i, (item, box) in enumerate(zip(scene.objects, boxes(scene), strict=True)):
            if item.texture == "plain" and item.shape != "ring" and i not in hosts:
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                assert tuple(pixels[y, x]) == FILLS[item.colour]
                checked += 1
    assert checked > 50


# Features and vectors


def test_region_features_tell_what_is_there(scenes):
    features, frames = region_features(scenes, np.random.default_rng(0))
    counts = np.array([[sum(o.colour == c for o in s.objects) for c in FILLS] for s in scenes], dtype=float)
    inputs = np.hstack([features.mean(axis=1), np.ones((len(scenes), 1))])
    weights = np.linalg.lstsq(inputs[:300], counts[:300], rcond=None)[0]
    guess = inputs[300:] @ weights
    assert np.corrcoef(guess.ravel(), counts[300:].ravel())[0, 1] > 0.4
    found = [
        any(np.abs(frame - box).max() <= 3 for frame in frames[i]) or halves(frames[i], box)
        for i, scene in enumerate(scenes)
        for box in boxes(scene)
    ]
    assert 0.85 < np.mean(found) < 1  # some are missed


def halves(frames, box):
    middle = (box[0] + box[2]) / 2
    return any(np.allclose(frame, [box[0], box[1], middle, box[3]]) for frame in frames)


def test_dagger_vectors_are_closer_to_captions_than_star(root):
    captions = read_array(root, "train_cap_bge.npy")
    own = {}
    for name in ("flor_det", "cpm_full"):
        images = read_array(root, f"train_aux_cap_bge_{name}.npy")
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-3)
        assert (images.reshape(-1, 5, SENTENCE_WIDTH) == images[::5, None]).all()
        similarity = images[::5] @ captions.T  # (N, 5N)
        matches = np.repeat(np.eye(len(similarity), dtype=bool), 5, axis=1)
        own[name] = similarity[matches].mean() - similarity[~matches].mean()
    assert 0.05 < own["flor_det"] < own["cpm_full"] < 0.6


def test_clip_vectors_match_better_than_chance_and_are_not_normalised(root):
    images, captions = (read_array(root, f"train_clip_simulated_{side}.npy") for side in ("ims", "caps"))
    best = (captions @ images.T).argmax(axis=1)
    assert np.mean(best == np.arange(len(captions)) // 5) > 0.1  # chance: 0.025
    assert (np.linalg.norm(images, axis=1) > 2).all()


def test_entities_and_relations_stand_where_the_graph_has_them(root):
    entities = read_array(root, "factual/train_caps_entities_bge.npy")
    relations = read_array(root, "factual/train_caps_relation_matrices_cls_bge.npy")
    assert relations.dtype.kind == "i"
    for graph, vectors, matrix in zip(read_json(root, "train_graphs.json"), entities, relations, strict=True):
        assert (vectors.sum(axis=1) != 0).tolist() == [i < len(graph["entities"]) for i in range(16)]
        expected = {(link["subject"], link["object"]) for link in graph["relations"]}
        assert set(zip(*map(np.ndarray.tolist, matrix.nonzero()), strict=True)) == expected


def test_vectors_are_a_function_of_the_text(root):
    captions, vectors = read_lines(root, "train_caps.txt"), read_array(root, "train_cap_bge.npy")
    assert (vectors == read_array(root, "train_cap_bge_cpm.npy")).all()
    assert len(np.unique(vectors, axis=0)) == len(set(captions))
