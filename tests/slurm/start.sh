#!/usr/bin/env bash
# Starts a Slurm of one node on this machine, as root, without systemd: tests/slurm/start.sh FOLDER
# Needs Debian's packages slurm-wlm and munge. Everything it writes lies in FOLDER; stop.sh FOLDER ends it.
set -euo pipefail
folder=$(realpath -m "${1:?usage: start.sh FOLDER}")
host=$(hostname -s)
mkdir -p "$folder"/{state,spool,log}
chmod 755 "$folder"
[ -s "$folder/munge.key" ] || head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"

cat > "$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$folder/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc --all) State=UNKNOWN
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
CONF

munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" --num-threads=2
slurmctld -f "$folder/slurm.conf"
slurmd -f "$folder/slurm.conf"
export SLURM_CONF="$folder/slurm.conf"
for _ in $(seq 60); do
    [ "$(sinfo --noheader --partition=normal --format=%T 2>/dev/null)" = idle ] && break
    sleep 1
done
sinfo
echo "export SLURM_CONF=$folder/slurm.conf"
