#!/usr/bin/env bash
# Starts what several machines share: PostgreSQL for the study's record and MLflow's, and an MLflow server.
# Run it on one machine that the others reach; Ctrl-C stops both. Data stay in FOLDER, so it can be started again.
#
#   examples/cluster/services.sh FOLDER [HOST]     HOST: the address to listen at, 127.0.0.1 by default
#
# It needs initdb, pg_ctl and psql (apt-get install postgresql) and this project's environment with [cluster] on the path.
# The password is made once and kept in FOLDER/password. As root, which PostgreSQL refuses, it runs PostgreSQL as nobody.
set -euo pipefail
folder=$(mkdir -p "${1:?the folder for the databases}" && cd "$1" && pwd)
host=${2:-127.0.0.1}
port=${PGPORT:-5433}
mlflow_port=${MLFLOW_PORT:-5000}
for programs in "" /usr/lib/postgresql/*/bin; do PATH=$PATH${programs:+:$programs}; done
command -v mlflow >/dev/null || { echo "mlflow is not on the path: activate this project's environment" >&2; exit 1; }
command -v initdb >/dev/null || { echo "initdb is not installed: apt-get install postgresql" >&2; exit 1; }

as=()
if [ "$(id -u)" = 0 ]; then as=(runuser -u nobody --) && chown nobody "$folder"; fi
cd "$folder"  # PostgreSQL enters the current folder
if [ ! -d "$folder/postgresql" ]; then
    "${as[@]}" bash -c "umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' >'$folder/password'"
    "${as[@]}" initdb --pgdata "$folder/postgresql" --username yoloret --auth scram-sha-256 --pwfile "$folder/password" >/dev/null
fi
export PGPASSWORD=$(cat "$folder/password")
"${as[@]}" pg_ctl start --wait --pgdata "$folder/postgresql" --log "$folder/postgresql.log" \
    --options "-p $port -k $folder -c listen_addresses=$host" >/dev/null
mlflow=""
trap '{ [ -z "$mlflow" ] || kill "$mlflow" || wait "$mlflow" || true; } 2>/dev/null; "${as[@]}" pg_ctl stop --pgdata "$folder/postgresql" --mode fast >/dev/null' EXIT
trap 'exit 130' INT TERM
# Machines beyond this one are let in with the password.
grep -q '^host all yoloret' "$folder/postgresql/pg_hba.conf" ||
    echo "host all yoloret all scram-sha-256" >>"$folder/postgresql/pg_hba.conf"
"${as[@]}" pg_ctl reload --pgdata "$folder/postgresql" >/dev/null
for name in optuna mlflow; do
    psql --quiet -h "$folder" -p "$port" -U yoloret -d postgres -tc "SELECT 1 FROM pg_database WHERE datname = '$name'" |
        grep -q 1 || psql --quiet -h "$folder" -p "$port" -U yoloret -d postgres -c "CREATE DATABASE $name"
done

cat <<EOF
export YOLORET_NAS_STORAGE=postgresql+psycopg://yoloret:\$(cat $folder/password)@$host:$port/optuna
export MLFLOW_TRACKING_URI=http://$host:$mlflow_port
EOF
# The password goes by PGPASSWORD, since other users see a program's arguments.
mlflow server --host "$host" --port "$mlflow_port" --allowed-hosts "localhost:*,127.0.0.1:*,$host:*" --workers 2 \
    --backend-store-uri "postgresql+psycopg://yoloret@$host:$port/mlflow" \
    --artifacts-destination "$folder/artifacts" >"$folder/mlflow.log" 2>&1 &
mlflow=$!
wait "$mlflow" || { echo "MLflow ended: $folder/mlflow.log says why" >&2; exit 1; }
