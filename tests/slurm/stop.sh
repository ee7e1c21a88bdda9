#!/usr/bin/env bash
# Ends what start.sh FOLDER has started, its jobs first.
set -uo pipefail
folder=$(realpath -m "${1:?usage: stop.sh FOLDER}")
export SLURM_CONF="$folder/slurm.conf"
scancel --state=PENDING --state=RUNNING --user=root 2>/dev/null
sleep 2
for daemon in slurmd slurmctld munged; do
    [ -s "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")"
done
exit 0
