"""`bench` where only what it measures is installed: torch, transformers, numpy, pydantic, pyyaml, psutil and pillow.

python -m itm_harness.benchmarks.bench --device cuda --output results/local
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from itm_harness.benchmarks.bench.measure import BenchOptions, chosen_methods, measure
from itm_harness.benchmarks.bench.page import shown_number
from itm_harness.benchmarks.bench.record import write_bench
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.methods.errors import MethodError


def main() -> None:
    """Measure, print a line per method, store the records."""
    parser = argparse.ArgumentParser(prog="python -m itm_harness.benchmarks.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--method", default="", help="methods with commas; default: all")
    parser.add_argument("--dataset", default="f30k", help="f30k or coco, whose shapes are imitated")
    parser.add_argument("--text", default="recipe", help="recipe, bert or bigru")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="fp32", help="fp32 or bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile BERT")
    parser.add_argument("--steps", type=int, help="to average over; default: 4 on a CPU, else 50")
    parser.add_argument("--batch", type=int, help="default: 8 on a CPU, else the recipe's")
    parser.add_argument("--images", type=int, help="images of the gallery; default: 20 on a CPU, else all of test")
    parser.add_argument("--no-plain", dest="plain", action="store_false", help="leave the plain path out (slow)")
    parser.add_argument("--beside", default="", help="what else runs on the machine, for the record")
    parser.add_argument("--output", type=Path, default=Path("results/local"))
    values = vars(parser.parse_args())
    names, output = chosen_methods(values.pop("method")), values.pop("output")
    try:
        options = BenchOptions(**values)
        for name in names:
            record = measure(name, options)
            steps = ", ".join(f"{shown_number(one.milliseconds)} ms" for one in record.step_times)
            print(f"{name}: {steps or 'nothing to train'}; record: {write_bench(record, output)}", flush=True)
    except (RunError, MethodError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
