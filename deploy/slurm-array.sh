#!/bin/bash
# Renders a data set in parts with Slurm, without Ray: each task of the array renders one part on one node.
#
#     srun --cpus-per-task=8 --mem=16G vosforge render OUT --videos 1000 --prepare-only
#     sbatch --array=1-40 deploy/slurm-array.sh OUT 40
#     sbatch --array="$(vosforge status OUT --missing-parts 40)" deploy/slurm-array.sh OUT 40
#
# The first line pins settings and assets, the last one renders what is missing later. Submit from a shell in which
# `vosforge` runs. All nodes must see OUT and VOSFORGE_CACHE. Further arguments go to `vosforge render`.
#SBATCH --job-name=vosforge
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=vosforge-%A_%a.log
set -eu

if [ $# -lt 2 ] || [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    echo "usage: sbatch --array=1-PARTS $0 OUT PARTS [options of vosforge render]" >&2
    exit 2
fi
out=$1 parts=$2
shift 2

# USR1 says that the time limit is near: stop and go back into the queue. TERM comes from a preemption, after which
# Slurm requeues the task itself, and from scancel, after which nothing should.
time_over='' told='' render=''
stop() {
    told=1
    [ -z "$render" ] || kill -TERM "$render" 2>/dev/null || true
}
trap 'time_over=1; stop' USR1
trap stop TERM
vosforge render "$out" --part "$SLURM_ARRAY_TASK_ID/$parts" --workers "$SLURM_CPUS_PER_TASK" --threads 1 "$@" &
render=$!
[ -z "$told" ] || stop

told=1
while [ -n "$told" ]; do # a signal ends the waiting, not the render
    told='' code=0
    wait "$render" || code=$?
done

case $code in
    0) exit 0 ;;
    3) # rendering again would change nothing
        echo "part $SLURM_ARRAY_TASK_ID is complete except for quarantined videos"
        exit 0
        ;;
esac
if [ -n "$time_over" ] || { [ "$code" = 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; }; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
