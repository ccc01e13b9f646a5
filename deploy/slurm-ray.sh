#!/bin/bash
# Renders a data set with Ray over one Slurm allocation, with as many Blender processes as there are cores.
#
#     sbatch --nodes=8 deploy/slurm-ray.sh OUT --videos 1000
#
# Submit from a shell in which `vosforge`, `ray` and `python` are those of one environment. All nodes must see it, OUT
# and VOSFORGE_CACHE. Further arguments go to `vosforge render`.
#SBATCH --job-name=vosforge-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=vosforge-%j.log
set -eu

if [ $# -lt 1 ] || [ -z "${SLURM_JOB_NUM_NODES:-}" ]; then
    echo "usage: sbatch --nodes=NODES $0 OUT [options of vosforge render]" >&2
    exit 2
fi
out=$1
shift

# This script runs on the first node, which is also the head. Jobs that share a node use other ports and folders: three
# ports below those that Linux hands out itself, and a short path, as sockets need one. Ray picks all other ports.
head=$(hostname --all-ip-addresses | cut -d ' ' -f 1)
port=$((10000 + SLURM_JOB_ID % 6000 * 3))
folder=/tmp/vosforge-$SLURM_JOB_ID
# Ray sees neither Slurm's share of the cores nor of the memory, in MiB; 2 GiB are left to Ray and the run itself.
memory=$((${SLURM_MEM_PER_NODE:-$((SLURM_CPUS_PER_TASK * ${SLURM_MEM_PER_CPU:-2048}))} - 2048))

# The token keeps other users of the nodes out.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# shellcheck disable=SC2016
node='
    head=$1 port=$2 folder=$3
    shift 3
    if [ "$SLURM_NODEID" = 0 ]; then
        set -- --head --node-ip-address="$head" --port="$port" --ray-client-server-port=$((port + 2)) "$@"
    else
        until (exec 3<>"/dev/tcp/$head/$port") 2>/dev/null; do sleep 1; done
        set -- --address="$head:$port" "$@"
    fi
    rm -rf "$folder"
    mkdir -m 700 "$folder" || exit 1
    trap "rm -rf \"$folder\"" EXIT
    ray start --block --temp-dir="$folder" --dashboard-agent-listen-port=$((port + 1)) "$@" &
    trap "kill $!" TERM
    wait $! || true
    wait
'
srun --export=ALL --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --kill-on-bad-exit=0 bash -c "$node" node "$head" "$port" "$folder" --num-cpus="$SLURM_CPUS_PER_TASK" \
    --memory=$((memory * 1048576)) --object-store-memory=209715200 --include-dashboard=false &
ray=$!
trap 'kill "$ray" 2>/dev/null; wait "$ray" || true' EXIT

# A run uses the nodes that are there when it starts, so wait for all of them; for five minutes, if one never comes.
wait_for_nodes='
import sys, time
import ray

address, wanted = sys.argv[1], int(sys.argv[2])
ray.init(address, log_to_driver=False, logging_level="ERROR")
for _ in range(300):
    found = sum(node["Alive"] for node in ray.nodes())
    if found >= wanted:
        break
    time.sleep(1)
print(f"{found} of {wanted} nodes have joined", flush=True)
'
for _ in {1..120}; do
    if (exec 3<>"/dev/tcp/$head/$port") 2>/dev/null; then break; fi
    sleep 1
done
python -c "$wait_for_nodes" "$head:$port" "$SLURM_JOB_NUM_NODES"

# USR1 says that the time limit is near: stop and go back into the queue. TERM comes from a preemption, after which
# Slurm requeues the job itself, and from scancel, after which nothing should.
time_over='' told='' render=''
stop() {
    told=1
    [ -z "$render" ] || kill -TERM "$render" 2>/dev/null || true
}
trap 'time_over=1; stop' USR1
trap stop TERM
vosforge render "$out" --address "$head:$port" "$@" &
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
        echo "$out is complete except for quarantined videos"
        exit 0
        ;;
esac
if [ -n "$time_over" ] || { [ "$code" = 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; }; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
