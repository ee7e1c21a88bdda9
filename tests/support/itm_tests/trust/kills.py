"""Kills runs with SIGKILL at random moments and resumes them; two processes in one folder; disks that are full.

    PYTHONPATH=tests/support python -m itm_tests.trust.kills --kills 50 --caches 5 --disks 10

Half of the moments are any, the others those at which a file is being written: a checkpoint, the selected model, a
record. After every kill, whatever bears its final name must be readable; every run that comes to its end must equal an
uninterrupted one bit for bit: record, ranks, scores, model, encodings. Prints what it did; exit code 1 where not.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from itm_harness.datasets.demo.make import ensure_demo
from itm_harness.datasets.demo.seal import SEAL
from itm_tests.trust.runs import Process, Run, command, require, require_equal, require_whole, write_data

WRITING = {  # what is being written: names that it has before it is whole, in the output folder
    "checkpoint": "runs/*/checkpoints/*.part",
    "model": "runs/*/*.safetensors.part",
    "record": "results/local/records/.*.part",
}
KINDS = ("any", "checkpoint", "any", "model", "any", "record")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="runs killed")
    parser.add_argument("--caches", type=int, default=5, help="kills while the cache of demo is written")
    parser.add_argument("--disks", type=int, default=10, help="runs on a disk that is too small")
    parser.add_argument("--size", type=int, default=512, help="of the embeddings: larger files take longer to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # forked processes share no pool of threads
    with tempfile.TemporaryDirectory() as folder:
        trial(Path(folder), options)


def trial(folder: Path, options: argparse.Namespace) -> None:
    """All parts, each with a line that says what happened."""
    draw = random.Random(options.seed)
    data, began = write_data(folder / "data"), time.monotonic()
    whole = Run(data, folder / "whole", options.size)
    require(whole.start().wait() == 0, "the uninterrupted run failed")
    seconds = time.monotonic() - began
    print(f"an uninterrupted run takes {seconds:.1f} s", flush=True)
    tell(began, kill_runs(folder, whole, options.kills, seconds, draw, options.size))
    tell(began, share_a_folder(folder, whole, options.size))
    if options.disks:
        tell(began, fill_disks(folder, whole, options.disks, options.size))
    if options.caches:
        tell(began, kill_caches(folder, options.caches, draw))


def tell(began: float, line: str) -> None:
    print(f"{line} ({time.monotonic() - began:.0f} s since the start)", flush=True)


def kill_runs(folder: Path, whole: Run, kills: int, seconds: float, draw: random.Random, size: int) -> str:
    """Kill until there are so many kills; a run that is through is compared, and the next one begins."""
    done: Counter[str] = Counter()
    ended = files = 0
    run = Run(whole.data, folder / "killed", size)
    while sum(done.values()) < kills or run.output.exists():
        enough = sum(done.values()) >= kills
        kind = KINDS[draw.randrange(len(KINDS))]
        moment = never if enough else moment_of(kind, run.output, seconds, draw)
        process = run.start()
        if process.kill_when(moment):
            done[kind] += 1
            files += require_whole(run.output) if run.output.exists() else 0
            continue
        require(process.code == 0, f"a resumed run failed: {process.said()}")
        require_equal(run, whole)
        ended += 1
        shutil.rmtree(run.output)
    kinds = ", ".join(f"{count} {'at any moment' if kind == 'any' else f'while a {kind} was written'}"
                      for kind, count in sorted(done.items()))  # fmt: skip
    return (
        f"{sum(done.values())} kills survived ({kinds}); {ended} runs came to their end after them, "
        f"all equal to the uninterrupted one; {files} files read after kills, none of them half-written"
    )


def never() -> bool:
    return False


def moment_of(kind: str, output: Path, seconds: float, draw: random.Random) -> Callable[[], bool]:
    """When to kill: after a random time, or a random instant after the n-th beginning of a file of that kind."""
    if kind == "any":
        end = time.monotonic() + draw.uniform(0, seconds)
        return lambda: time.monotonic() >= end
    pattern, left, delay = WRITING[kind], draw.randint(1, 3) if kind == "checkpoint" else 1, draw.uniform(0, 0.02)
    state = {"left": left, "seen": False}

    def moment() -> bool:
        writing = any(output.glob(pattern))
        state["left"] -= writing and not state["seen"]
        state["seen"] = writing
        if writing and state["left"] == 0:
            time.sleep(delay)
            return True
        return False

    return moment


def share_a_folder(folder: Path, whole: Run, size: int) -> str:
    """Four processes at once into one folder: one run, the same again, another seed, leaderboards all the time."""
    output = folder / "shared"
    same, other = Run(whole.data, output, size), Run(whole.data, output, size, seed=1)
    processes = [run.start() for run in (same, same, other)]
    written = 0
    while sum(p.running() for p in processes):
        if (output / "results").exists():
            arguments = ["leaderboard", "--results", str(output / "results")]
            written += Process(lambda a=arguments: command(a), folder / "board.log").wait() == 0
        time.sleep(0.05)
    codes = sorted(p.code for p in processes)
    require(codes in ([0, 0, 2], [0, 0, 0]), f"exit codes {codes}: {[p.said() for p in processes]}")
    records = sorted((output / "results" / "local" / "records").glob("*-s?-*.json"))
    require(len(records) == 2 and require_whole(output) > 0, f"records: {records}")
    require(same.start().wait() == other.start().wait() == 0, "a repeated command failed")
    alone = Run(whole.data, folder / "alone", size, seed=1)
    require(alone.start().wait() == 0, "the other seed failed alone")
    for name, run in (("s0", whole), ("s1", alone)):
        (record,) = [path for path in records if f"-{name}-" in path.name]
        require_equal(Only(output, record, whole), run)
    return (
        f"3 processes in one folder: exit codes {codes}, 2 records, equal to those made alone; {written} leaderboards"
    )


class Only(Run):
    """One run of a folder that holds several."""

    def __init__(self, output: Path, record: Path, like: Run) -> None:
        self.output, self.data, self.overrides, self._record = output, like.data, like.overrides, record

    @property
    def folder(self) -> Path:
        return self.output / "runs" / self._record.stem

    @property
    def record_path(self) -> Path:
        return self._record


def fill_disks(folder: Path, whole: Run, disks: int, size: int) -> str:
    """Runs with too little space, from nearly none to nearly enough; then there is space, and the command goes on."""
    need = sum(p.stat().st_size for p in whole.output.rglob("*") if p.is_file())
    largest = max(p.stat().st_size for p in whole.output.rglob("*") if p.is_file())
    mounted, stopped = False, 0
    for number in range(disks):
        share = (number + 0.5) / disks
        output = folder / f"disk{number}"
        with small_disk(output, int(2 * need)) as disk:
            mounted = disk
            ballast = output / "ballast"
            if disk:
                with ballast.open("wb") as file:
                    file.write(bytes(int(2 * need - share * need)))
            run = Run(whole.data, output / "out", size)
            limit = int(share * largest)
            process = run.start(never if disk else lambda limit=limit: limit_files(limit))
            code = process.wait()
            said = " ".join(process.said().split())
            stopped += code == 2
            require(code in (0, 2), f"exit code {code}: {said}")
            if code == 2:
                require(
                    "cannot be written" in said and str(output) in said.replace(" ", ""), f"no clear sentence: {said}"
                )
                require("Traceback" not in said, said)
                require_whole(output)
            ballast.unlink(missing_ok=True)
            resumed = run.start()
            require(resumed.wait() == 0, f"after space was made: {resumed.said()}")
            require_equal(run, whole)
    how = "disks that were full" if mounted else "limits on the size of a file (no disk could be mounted)"
    return (
        f"{stopped} of {disks} runs stopped by {how}: a sentence with the file, exit code 2; all went on and are equal"
    )


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[bool]:
    """A file system in memory at `place`; an ordinary folder where the system refuses it. Yields whether it is one."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode
    try:
        yield mounted == 0
    finally:
        if mounted == 0:
            subprocess.run(["umount", str(place)], check=True)


def limit_files(size: int) -> None:
    """No file of this process may become larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def kill_caches(folder: Path, kills: int, draw: random.Random) -> str:
    """Kill while the demo data set is generated; then it is made whole, the same as without a kill."""
    began = time.monotonic()
    whole, cache = folder / "cache-whole", folder / "cache-killed"
    require(Process(lambda: ensure_demo(whole), folder / "cache.log").wait() == 0, "demo was not made")
    seconds = time.monotonic() - began
    killed = 0
    for _ in range(kills):
        end = time.monotonic() + draw.uniform(0, seconds)
        process = Process(lambda: ensure_demo(cache), folder / "cache.log")
        killed += process.kill_when(lambda end=end: time.monotonic() >= end)
        require(not list(cache.glob("demo-*")) or content(cache) == content(whole), "half a cache bears its name")
        for root in cache.glob("demo-*"):
            shutil.rmtree(root)
    require(Process(lambda: ensure_demo(cache), folder / "cache.log").wait() == 0, "demo was not made after kills")
    require(content(cache) == content(whole), "demo differs after kills")
    return f"{killed} of {kills} kills hit the making of demo's cache, which is the same afterwards"


def content(cache: Path) -> str:
    """Hash of all files of the cache's data set but the list of them, which holds times."""
    (root,) = cache.glob("demo-*")
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name != SEAL):
        digest.update(path.relative_to(root).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
