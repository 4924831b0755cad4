#!/usr/bin/env bash
# The Ray cluster behind `make ray-up`, `make submit` and `make ray-down`: one machine, loopback only.
#
#   ray_cluster.sh up                   start it and wait until its dashboard answers
#   ray_cluster.sh submit COMMAND ...   run COMMAND as a Ray job, in a copy of the current folder
#   ray_cluster.sh down                 end that cluster, and no other on the machine (`ray stop` would end them all)
#   ray_cluster.sh clean                down, and remove its temp folder
#
# $CLUSTER_TEMP (yours alone) holds `pid` of `ray start --block`, `dashboard` (its address), `log`, and `r`, Ray's own
# temp folder. The cluster belongs to the current folder: the default $CLUSTER_TEMP carries a checksum of its path.
set -euo pipefail

port=${CLUSTER_PORT:-6411}
dashboard_port=${CLUSTER_DASHBOARD_PORT:-8311}
agent_port=${CLUSTER_AGENT_PORT:-52411}
client_port=${CLUSTER_CLIENT_PORT:-9411}
worker_ports=${CLUSTER_WORKER_PORTS:-21000-21999}
num_cpus=${CLUSTER_NUM_CPUS:-} # empty: all of them
object_store_mib=${CLUSTER_OBJECT_STORE_MIB:-512}
temp=${CLUSTER_TEMP:-/tmp/nuggets-$(id -u)-$(pwd -P | cksum | cut -d' ' -f1)}
wait_s=120
# A Unix socket's path has at most 107 bytes, and Ray's reach 71 below $temp.
max_temp_chars=36
# Without it Ray replaces 127.0.0.1 by the machine's address and listens there; it acts on Linux too.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0

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

answers() {
    python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null
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
    for name in CLUSTER_PORT=$port CLUSTER_DASHBOARD_PORT=$dashboard_port CLUSTER_AGENT_PORT=$agent_port \
        CLUSTER_CLIENT_PORT=$client_port; do
        number=${name#*=}
        ! taken "$number" || fail "$name is taken on this machine: name another port"
    done
    mkdir -p -m 700 "$temp"
    [ -O "$temp" ] || fail "CLUSTER_TEMP=$temp belongs to someone else: name another folder"
    rm -rf "$temp/r"

    # A session of its own: a Ctrl-C or a closed terminal does not reach the cluster.
    env -u RAY_ADDRESS setsid nohup ray start --head --block --disable-usage-stats "--temp-dir=$temp/r" \
        --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 "--port=$port" "--dashboard-port=$dashboard_port" \
        "--dashboard-agent-listen-port=$agent_port" "--ray-client-server-port=$client_port" \
        "--min-worker-port=${worker_ports%-*}" "--max-worker-port=${worker_ports#*-}" \
        "--object-store-memory=$((object_store_mib * 1024 * 1024))" ${num_cpus:+"--num-cpus=$num_cpus"} \
        >"$temp/log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$temp/pid"
    echo "http://127.0.0.1:$dashboard_port" >"$temp/dashboard"
    trap 'end "$pid"; exit 130' INT TERM
    for _ in $(seq "$wait_s"); do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$temp/log" >&2
            fail "Ray ended while starting: the end of $temp/log is above"
        fi
        if answers "$(cat "$temp/dashboard")/api/jobs/"; then
            echo "Ray is up at $(cat "$temp/dashboard") (pid $pid, log $temp/log)"
            return
        fi
        sleep 1
    done
    end "$pid"
    tail -n 20 "$temp/log" >&2
    fail "Ray's dashboard did not answer within $wait_s s: the end of $temp/log is above"
}

submit() {
    running_pid >/dev/null || fail "this folder has no cluster up: make ray-up starts one"
    # Ray leaves out what .gitignore names too; this holds where there is none.
    ray job submit --address "$(cat "$temp/dashboard")" --working-dir . \
        --runtime-env-json '{"excludes": [".git/", ".venv/", "runs/", "__pycache__/", ".*_cache/"]}' -- "$@"
}

down() {
    local pid
    if pid=$(running_pid); then
        end "$pid"
        echo "ended the cluster at $(cat "$temp/dashboard")"
    else
        echo "this folder has no cluster up"
    fi
    rm -f "$temp/pid"
}

case "${1:-}" in
up) up ;;
submit) submit "${@:2}" ;;
down) down ;;
clean)
    down >/dev/null
    rm -rf "$temp/r" "$temp/log" "$temp/dashboard"
    rmdir "$temp" 2>/dev/null || true # what else lies there is not ours
    ;;
*) fail "usage: ray_cluster.sh up | submit COMMAND ... | down | clean" ;;
esac
