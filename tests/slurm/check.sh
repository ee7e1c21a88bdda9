#!/usr/bin/env bash
# A sweep on the Slurm that start.sh has started: a job that is queued again goes on, one that a more urgent job drives
# out as well, what fails is listed, and a second command skips what is finished. tests/slurm/check.sh FOLDER [PYTHON]
set -euo pipefail
folder=$(realpath "${1:?usage: check.sh FOLDER [PYTHON]}")
python=${2:-python}
cd "$(dirname "$0")/../.."
export SLURM_CONF="$folder/slurm.conf" OMP_NUM_THREADS=1
work="$folder/work"
rm -rf "$work" && mkdir -p "$work"
$python - "$work" <<'PYTHON'
import sys
from pathlib import Path

from tests.test_launch_processes import BROKEN
from tests.trees import write_f30k

write_f30k(Path(sys.argv[1]) / "data")
(Path(sys.argv[1]) / "broken.py").write_text(BROKEN)
PYTHON

sweep() {
    $python harness.py run --method "gpo,$work/broken.py" --dataset f30k --seeds 0,1 --data-root "$work/data" \
        --output "$work" --device cpu --epochs 120 --set text.bert=null --set embed_size=16 --set train.batch_size=8 \
        --launcher submitit --slurm partition=normal --slurm time=30 --slurm cpus_per_task=1
}
said() { # FILE TEXT: waits until the file holds it
    for _ in $(seq 600); do grep -qs -- "$2" "$1" && return; sleep 0.5; done
    echo "never said: $2"; exit 1
}
show() { echo; echo "\$ $*"; "$@"; }

sweep > "$work/sweep.txt" 2>&1 &
waiting=$!
said "$work/sweep.txt" "gpo f30k seed 1 as job"
first=$(sed -n 's/.*gpo f30k seed 0 as job \([0-9_]*\).*/\1/p' "$work/sweep.txt")
second=$(sed -n 's/.*gpo f30k seed 1 as job \([0-9_]*\).*/\1/p' "$work/sweep.txt")
said "$work/logs/gpo-f30k-seed-0.log" "epoch 3/120"
said "$work/logs/gpo-f30k-seed-1.log" "epoch 3/120"
show squeue --format="%.8i %.10P %.10T"
show scontrol requeue "$first"
sleep 3
show squeue --format="%.8i %.10P %.10T %r"
said "$work/logs/gpo-f30k-seed-1.log" "epoch 6/120"
show srun --partition=urgent --ntasks=1 --cpus-per-task="$(nproc --all)" echo "an urgent job had all processors"
show squeue --format="%.8i %.10P %.10T %r"
code=0
wait $waiting || code=$?
echo; echo "the sweep, exit code $code:"
cat "$work/sweep.txt"
for seed in 0 1; do
    echo; echo "from the log of gpo, seed $seed:"
    grep -E "stopped|goes on|record" "$work/logs/gpo-f30k-seed-$seed.log"
done
echo; echo "the same command again:"
sweep 2>&1 || echo "exit code $?"
