#!/usr/bin/env bash
# A search on the nodes of a SLURM job: a Ray head on the first node, a Ray node on each, the driver on the first.
#
#   sbatch examples/cluster/slurm.sh --data /shared/data/mine --budget 200 --gpus-per-trial 0.25
#
# The arguments are those of `yoloret-nas search`. The project's environment (with [cluster]), the data and --dir are on a
# file system that all nodes have. The same command resumes the study; so does a job that SLURM requeues.
#SBATCH --job-name=yoloret-nas
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
environment=${YOLORET_NAS_ENV:-$PWD/.venv}
[ -f "$environment/bin/activate" ] || { echo "no environment $environment: submit from the project's folder, or set YOLORET_NAS_ENV" >&2; exit 2; }
source "$environment/bin/activate"
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # since SLURM 22.05 srun does not take it from the job
export RAY_AUTH_MODE=token  # nodes share ~/.ray/auth_token, so that other users of the machines cannot join
(umask 077; mkdir -p ~/.ray; [ -s ~/.ray/auth_token ] || ray get-auth-token --generate >/dev/null)  # for no other user

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# What the name resolves to, unless that is 127.0.1.1, as on Debian; then the first address of an interface.
head=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" bash -c 'hostname --ip-address; hostname --all-ip-addresses' \
    | tr -s ' ' '\n' | awk '/^[0-9.]+$/ && !/^127\./ && !found++')
[ -n "$head" ] || { echo "${nodes[0]} has no IPv4 address that other nodes can reach: see hostname --all-ip-addresses there" >&2; exit 1; }
port=$((20000 + SLURM_JOB_ID % 20000))  # of its own, for jobs that share a machine
here=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats --block)

srun --nodes=1 --ntasks=1 --overlap -w "${nodes[0]}" \
    ray start --head --node-ip-address="$head" --port="$port" --include-dashboard=false "${here[@]}" &
sleep 15
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --overlap -w "$node" ray start --address="$head:$port" "${here[@]}" &
done
RAY_ADDRESS="$head:$port" yoloret-nas search --cluster auto "$@"
