#!/usr/bin/env bash
# The Ray cluster behind `make ray-up`, `make submit` and `make ray-down`: one machine, loopback only.
#
#   ray_cluster.sh up                   start it and wait until its node is there with its CPUs; one more try
#   ray_cluster.sh submit JOB COMMAND ...   run COMMAND as a Ray job named $NAME (default: JOB and the time), in a copy
#                                       of the current folder; Ctrl-C ends the showing, not the job
#   ray_cluster.sh status | logs | stop the jobs there are; what job $NAME says; end it in order (default: the last one)
#   ray_cluster.sh down                 end that cluster, and no other on the machine (`ray stop` would end them all)
#   ray_cluster.sh clean                down, and remove its temp folder
#
# $CLUSTER_TEMP (yours alone) holds `pid` of `ray start --block`, `dashboard` (its address), `log`, `token` (what every
# request must bring: other users of the machine reach loopback too), and `r`, Ray's own temp folder. The cluster belongs
# to the current folder: the default $CLUSTER_TEMP carries a checksum of its path.
set -euo pipefail

port=${CLUSTER_PORT:-6411}
dashboard_port=${CLUSTER_DASHBOARD_PORT:-8311}
agent_port=${CLUSTER_AGENT_PORT:-52411}
worker_ports=${CLUSTER_WORKER_PORTS:-21000-21999}
num_cpus=${CLUSTER_NUM_CPUS:-} # empty: all of them
object_store_mib=${CLUSTER_OBJECT_STORE_MIB:-512}
temp=${CLUSTER_TEMP:-/tmp/nuggets-$(id -u)-$(pwd -P | cksum | cut -d' ' -f1)}
wait_s=${CLUSTER_WAIT_S:-180}
here=$(cd "$(dirname "$0")" && pwd)
# A Unix socket's path has at most 107 bytes, and Ray's reach 71 below $temp.
max_temp_chars=36
# Without it Ray replaces 127.0.0.1 by the machine's address and listens there; it acts on Linux too.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token} RAY_AUTH_TOKEN_PATH=$temp/token
unset RAY_AUTH_TOKEN # it would go before the file
# 3 s by default, in which no job of ours has written what it has finished
export RAY_JOB_STOP_WAIT_TIME_S=${RAY_JOB_STOP_WAIT_TIME_S:-120}

fail() {
    echo "error: $*" >&2
    exit 2
}

# The process id of the running cluster, or failure; a number that another process has taken over is not ours.
running_pid() {
    local pid
    pid=$(cat "$temp/pid" 2>/dev/null) || return 1
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "--temp-dir=$temp/r " || return 1
    echo "$pid"
}

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

end() {
    local pid=$1
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 300); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null || true
}

up() {
    local pid name number
    if pid=$(running_pid); then
        fail "this folder's cluster is already up (pid $pid, $(cat "$temp/dashboard")): make ray-down ends it"
    fi
    ((${#temp} <= max_temp_chars)) ||
        fail "CLUSTER_TEMP=$temp is too long for Ray's sockets: at most $max_temp_chars characters"
    for name in CLUSTER_PORT=$port CLUSTER_DASHBOARD_PORT=$dashboard_port CLUSTER_AGENT_PORT=$agent_port; do
        number=${name#*=}
        ! taken "$number" || fail "$name is taken on this machine: name another port"
    done
    mkdir -p -m 700 "$temp"
    [ -O "$temp" ] || fail "CLUSTER_TEMP=$temp belongs to someone else: name another folder"
    echo "http://127.0.0.1:$dashboard_port" >"$temp/dashboard"
    rm -f "$temp/token"
    (umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$temp/token")
    start || {
        echo "Ray did not come up: one more try" >&2
        start || fail "Ray did not come up in two tries: the end of $temp/log is above"
    }
    echo "Ray is up at $(cat "$temp/dashboard") (pid $(cat "$temp/pid"), log $temp/log)"
    echo "A job of your own finds it by cluster.address=127.0.0.1:$port, with RAY_AUTH_MODE=$RAY_AUTH_MODE and" \
        "RAY_AUTH_TOKEN_PATH=$temp/token in its environment; the dashboard asks for what is in that file"
}

# One try: Ray, in a session of its own, which a Ctrl-C or a closed terminal does not reach.
start() {
    local pid why
    rm -rf "$temp/r"
    # Ray gives its parts 30 s and 60 s to start, which a busy machine takes; one that failed ends Ray.
    env -u RAY_ADDRESS "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT=$wait_s" \
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S=$wait_s" "RAY_agent_register_timeout_ms=$((wait_s * 1000))" \
        setsid nohup python "$here/ray_cluster.py" start --head --block --disable-usage-stats --include-dashboard=true \
        "--temp-dir=$temp/r" --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 "--port=$port" \
        "--dashboard-port=$dashboard_port" "--dashboard-agent-listen-port=$agent_port" \
        "--min-worker-port=${worker_ports%-*}" "--max-worker-port=${worker_ports#*-}" \
        "--object-store-memory=$((object_store_mib * 1024 * 1024))" ${num_cpus:+"--num-cpus=$num_cpus"} \
        >"$temp/log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$temp/pid"
    trap 'end "$pid"; exit 130' INT TERM
    why=$(python "$here/ray_cluster.py" wait "$(cat "$temp/dashboard")" "$pid" "$wait_s" 2>&1) && {
        trap - INT TERM
        return
    }
    end "$pid"
    tail -n 20 "$temp/log" >&2
    echo "$why" >&2
    return 1
}

# The cluster's dashboard, which must be up.
dashboard() {
    running_pid >/dev/null || fail "this folder has no cluster up: make ray-up starts one"
    cat "$temp/dashboard"
}

submit() {
    local name address excludes
    address=$(dashboard)
    name=${NAME:-$1-$(date +%Y%m%d-%H%M%S)}
    excludes=$(python "$here/ray_cluster.py" excludes)
    python "$here/ray_cluster.py" free "$address" "$name" || exit 2
    echo "job $name: make status | make logs NAME=$name | make stop NAME=$name"
    # bash runs it once Ray's own client, which gets the Ctrl-C too, has ended
    trap 'goes_on "$name"; exit 130' INT TERM
    ray job submit --address "$address" --submission-id "$name" --working-dir . \
        --runtime-env-json "$excludes" -- "${@:2}"
}

goes_on() {
    echo
    echo "job $1 goes on: make logs NAME=$1 shows it again, make stop NAME=$1 ends it in order"
} >&2

status() {
    local address
    address=$(dashboard)
    python "$here/ray_cluster.py" jobs "$address" "${NAME:-}"
}

logs() {
    local address name
    address=$(dashboard)
    name=$(python "$here/ray_cluster.py" pick "$address" "${NAME:-}") || exit 2
    trap 'exit 130' INT TERM
    ray job logs --address "$address" --follow "$name"
}

# What is finished is written first, for which Ray gives a job $RAY_JOB_STOP_WAIT_TIME_S.
stop() {
    local address name
    address=$(dashboard)
    name=$(python "$here/ray_cluster.py" pick "$address" "${NAME:-}" running) || exit 2
    ray job stop --address "$address" "$name"
}

down() {
    local pid
    if pid=$(running_pid); then
        end "$pid"
        echo "ended the cluster at $(cat "$temp/dashboard")"
    else
        echo "this folder has no cluster up"
    fi
    rm -f "$temp/pid" "$temp/token"
}

case "${1:-}" in
up) up ;;
submit) submit "${@:2}" ;;
status | logs | stop) "$1" ;;
down) down ;;
clean)
    down >/dev/null
    rm -rf "$temp/r" "$temp/log" "$temp/dashboard"
    rmdir "$temp" 2>/dev/null || true # what else lies there is not ours
    ;;
*) fail "usage: ray_cluster.sh up | submit JOB COMMAND ... | status | logs | stop | down | clean" ;;
esac
