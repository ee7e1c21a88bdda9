"""FactualSceneGraph in a process of its own: a JSON line in, a JSON line out.

The harness hands this source to a Python that may be another environment's and does not see the checkout, whose
package `datasets` would stand in the way of the library of that name. So nothing of the harness is imported here.
"""

import json
import sys
from importlib import metadata

LIBRARIES = ("FactualSceneGraph", "torch", "transformers")
BEAMS = 5  # as the package's authors parse


def main() -> None:
    """argv: folder of the weights. Answers versions and device, then the graphs of each line of captions."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print goes elsewhere

    def answer(content: dict) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        import torch
        from factual_scene_graph.parser.scene_graph_parser import SceneGraphParser

        device = "cuda" if torch.cuda.is_available() else "cpu"
        answer({"versions": {name: metadata.version(name) for name in LIBRARIES}, "device": device})
        parser = None
        for line in sys.stdin:
            parser = parser or SceneGraphParser(sys.argv[1], device=device)
            answer({"graphs": parsed(parser, json.loads(line))})
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})


def parsed(parser: object, captions: list[str]) -> list[dict]:
    """The graphs of captions; on a GPU with half as many at a time as often as memory does not suffice."""
    import torch

    batch = len(captions)
    while True:
        try:
            graphs = parser.parse(captions, beam_size=BEAMS, return_text=False, batch_size=batch)
            return [as_json(graph) for graph in graphs]
        except torch.cuda.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2


def as_json(graph: dict) -> dict:
    """The package's graph in the words of the harness; a set of attributes in the alphabet's order."""
    entities = [{"name": e["head"], "attributes": sorted(e["attributes"])} for e in graph["entities"]]
    return {"entities": entities, "relations": graph["relations"]}


if __name__ == "__main__":
    main()
