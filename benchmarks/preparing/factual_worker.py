"""FactualSceneGraph in a process of its own: a JSON line in, a JSON line out.

The harness hands this source to a Python that may be another environment's and does not see the checkout, whose
folder `datasets` would stand in the way of the library of that name. So nothing of the harness is imported here.
"""

import json
import re
import sys
from importlib import metadata

LIBRARIES = ("FactualSceneGraph", "torch", "transformers")
BEAMS = 5  # as the package's authors parse
SAFE_TORCH = (2, 6)
NO_MEMORY = re.compile(r"out of memory|CU\w+_STATUS_(NOT_INITIALIZED|\w*ALLOC\w*)")  # as in batch_size.py


def main() -> None:
    """argv: folder of the weights. Answers versions and device, then the graphs of each line of captions."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print goes elsewhere

    def answer(content: dict) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        import torch
        from factual_scene_graph.parser.scene_graph_parser import SceneGraphParser

        _read_only_tensors(torch)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        answer({"versions": {name: metadata.version(name) for name in LIBRARIES}, "device": device})
        parser = None
        for line in sys.stdin:
            parser = parser or Parser(SceneGraphParser(sys.argv[1], device=device))
            answer({"graphs": parser.graphs(json.loads(line))})
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})


def _read_only_tensors(torch: object) -> None:
    """A .bin file of weights may hold code; torch reads its tensors alone, and whoever asks for more gets no more."""
    if tuple(map(int, metadata.version("torch").split(".")[:2])) < SAFE_TORCH:
        raise RuntimeError("torch is older than 2.6, and reads weights in a way that is not safe")
    load = torch.load
    torch.load = lambda *arguments, **options: load(*arguments, **{**options, "weights_only": True})


class Parser:
    """The package's parser, on a GPU with half as many captions at a time as often as memory does not suffice."""

    def __init__(self, parser: object) -> None:
        self.parser, self.fits = parser, None  # fits: captions at a time, once it is known

    def graphs(self, captions: list[str]) -> list[dict]:
        """The graph of each caption."""
        import torch

        while True:
            batch = self.fits or len(captions)
            try:
                graphs = self.parser.parse(captions, beam_size=BEAMS, return_text=False, batch_size=batch)
                return [as_json(graph) for graph in graphs]
            except RuntimeError as error:
                if batch == 1 or not (isinstance(error, torch.cuda.OutOfMemoryError) or NO_MEMORY.search(str(error))):
                    raise
                self.fits = batch // 2
            torch.cuda.empty_cache()


def as_json(graph: dict) -> dict:
    """The package's graph in the words of the harness; a set of attributes in the alphabet's order."""
    entities = [{"name": e["head"], "attributes": sorted(e["attributes"])} for e in graph["entities"]]
    return {"entities": entities, "relations": graph["relations"]}


if __name__ == "__main__":
    main()
