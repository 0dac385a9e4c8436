"""The scripts that run on the board: plain POSIX sh (dash, bash or busybox), without root; only the caches remain.

Each script gets its values as arguments, never by substitution. Standard input is the heartbeat of
`trials.latency.board.ssh`.
"""

PRELUDE = r"""
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
umask 077
root=${YOLORET_NAS_BOARD_ROOT:-}  # a folder instead of /, for stand-ins of a board
cache=${XDG_CACHE_HOME:-$HOME/.cache}/yoloret-nas
queue=$root/tmp/yoloret-nas.lock  # in /tmp: one queue for all accounts of the board
running=$root/tmp/yoloret-nas-run.lock
# trtexec's GPU is the one whose state nvidia-smi gives: the first of the account's, by the order on the bus.
CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
export CUDA_DEVICE_ORDER CUDA_VISIBLE_DEVICES
has() { command -v "$1" >/dev/null 2>&1; }
if timeout -k 1 5 true >/dev/null 2>&1; then bounded=yes; else bounded=; fi

# Waits for the next heartbeat, a line every ten seconds. Fails when they stop: the client or the connection ended.
beat() {
    if [ "$bounded" ]; then exec timeout 45 sh -c 'read -r line'; else exec sh -c 'read -r line'; fi
}

stop() {
    kill -TERM "$1" 2>/dev/null
    [ "$bounded" ] && return
    for second in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null && sleep 1; done
    kill -KILL "$1" 2>/dev/null
}

# guard SECONDS COMMAND...: run it; end it after so many seconds or when the heartbeat stops.
guard() {
    seconds=$1; shift
    timer=
    if [ "$bounded" ]; then
        timeout -k 10 "$seconds" "$@" </dev/null 3<&- &
        job=$!
    else
        "$@" </dev/null 3<&- &
        job=$!
        ( trap 'kill "$nap" 2>/dev/null; exit 0' TERM
          sleep "$seconds" & nap=$!
          wait "$nap"; stop "$job" ) 3<&- 8<&- 9<&- >/dev/null 2>&1 &
        timer=$!
    fi
    ( trap 'kill "$pulse" 2>/dev/null; exit 0' TERM
      while :; do
          beat <&3 & pulse=$!
          wait "$pulse" || break
      done
      stop "$job" ) 8<&- 9<&- >/dev/null 2>&1 &
    watcher=$!
    wait "$job"; status=$?
    kill $watcher $timer 2>/dev/null
    wait $watcher $timer 2>/dev/null
    return $status
}

# A lock file that any account may open; created only where none exists, so that no link is followed.
lockable() { [ -e "$1" ] || ( umask 0; set -C; : >"$1" ) 2>/dev/null; [ -r "$1" ]; }

# Builtins rather than programs: reading the state should not disturb the board, and a fork is slow on a small one.
state() {
    for folder in "$root"/sys/class/devfreq/*; do
        [ -r "$folder/cur_freq" ] || continue
        read -r now <"$folder/cur_freq" && read -r low <"$folder/min_freq" && read -r high <"$folder/max_freq" &&
            echo "devfreq ${folder##*/} $now $low $high"
    done 2>/dev/null
    for zone in "$root"/sys/devices/virtual/thermal/thermal_zone*; do
        read -r kind <"$zone/type" && read -r value <"$zone/temp" && echo "thermal $kind $value"
    done 2>/dev/null
    while read -r name value unit; do
        case $name in MemTotal: | MemAvailable: | MemFree:) echo "memory ${name%:} $value" ;; esac
    done <"$root/proc/meminfo" 2>/dev/null
    if [ ! -e "$root/proc/device-tree/model" ] && has nvidia-smi; then
        echo "visible $CUDA_VISIBLE_DEVICES"
        nvidia-smi --query-gpu=index,uuid,name,clocks.sm,clocks.max.sm,temperature.gpu,memory.total,memory.free \
            --format=csv,noheader,nounits 2>/dev/null | sed 's/^/nvidia-smi /'
    fi
    if has nvpmodel; then
        nvpmodel -q 2>/dev/null | sed -n 's/^NV Power Mode: */power /p'
    fi
    folder=$cache
    while [ "$folder" ] && [ ! -d "$folder" ]; do
        case $folder in */*) folder=${folder%/*} ;; *) folder= ;; esac
    done
    df -Pk "${folder:-/}" 2>/dev/null | while read -r disk size used free rest; do
        case $free in *[0-9]) echo "disk $free" ;; esac
    done
}

# trim MIB: of the engines and timing caches keep those used last that fit into so much.
trim() {
    total=0
    ls -t "$cache"/*/*.engine "$cache"/*/timing.cache 2>/dev/null | while IFS= read -r file; do
        with=$((total + ($(wc -c <"$file") + 1023) / 1024))
        if [ "$with" -gt $(($1 * 1024)) ]; then rm -f "$file"; else total=$with; fi
    done
}

mark() { printf '\n@%s %s\n' "$nonce" "$1"; }
"""

PROBE = (
    PRELUDE
    + r"""
# PROBE NONCE TRTEXEC
nonce=$1
exec 3<&0
mark board
if [ -r "$root/proc/device-tree/model" ]; then echo "model $(tr -d '\000' <"$root/proc/device-tree/model")"; fi
if [ -r "$root/etc/nv_tegra_release" ]; then echo "l4t $(head -n 1 "$root/etc/nv_tegra_release")"; fi
if [ -r "$root/proc/loadavg" ]; then echo "load $(cut -d ' ' -f 1 "$root/proc/loadavg")"; fi
if has flock; then echo "tool flock"; fi
if [ "$bounded" ]; then echo "tool timeout"; fi
ps -e -o comm= 2>/dev/null | grep -E -x 'Xorg|Xwayland|gnome-shell|lxsession|gdm3|lightdm' | sort -u | sed 's/^/desktop /'
if has dpkg-query; then
    dpkg-query -W -f '${Status} ${Version}\n' 'libnvinfer[0-9]*' 2>/dev/null | sed -n 's/^install ok installed /library /p'
fi
for file in "$root"/usr/lib/*/libnvinfer.so.*.*.* "$root"/usr/lib*/libnvinfer.so.*.*.*; do
    [ -e "$file" ] && echo "library ${file##*libnvinfer.so.}"
done
state
trtexec=$2
if [ -z "$trtexec" ]; then
    for trtexec in "$(command -v trtexec)" "$root/usr/src/tensorrt/bin/trtexec" "$root/opt/tensorrt/bin/trtexec" \
        "$root/usr/local/tensorrt/bin/trtexec" ""; do
        [ -n "$trtexec" ] && [ -x "$trtexec" ] && break
    done
fi
echo "trtexec $trtexec"
mark help
if [ -n "$trtexec" ]; then guard 60 "$trtexec" --help 2>&1; fi
mark end
"""
)

SESSION = (
    PRELUDE
    + r"""
# SESSION NONCE SECONDS FOLDER WHO MIB: wait in the queue, then hold the board until the heartbeat stops.
# Only then the cache is limited to so much: an engine in use is not deleted, however large it is.
# Its last line starts with "busy", "work" or "error"; the nonce tells its lines from a login script's.
say() { echo "@$nonce $*"; }
nonce=$1; shift
exec 3<&0
# Where a disk is full, it may be of our own engines.
mkdir -p "$cache/$2" 2>/dev/null || { trim 0; mkdir -p "$cache/$2" 2>/dev/null; } ||
    { say "error cannot write to $cache"; exit 0; }
lockable "$queue" && lockable "$running" || { say "error cannot make $queue"; exit 0; }
if has flock; then
    exec 9<"$queue"
    guard "$1" flock 9 || { say "busy $(cat "$cache/owner" 2>/dev/null)"; exit 0; }
    rm -rf "$cache"/work.*  # of clients that were killed; the lock shows that none is running
else
    find "$cache" -maxdepth 1 -name 'work.*' -mtime +1 -exec rm -rf {} + 2>/dev/null
fi
scratch() { mktemp -d "$cache/work.XXXXXX"; }
work=$(scratch) || { trim 0; work=$(scratch); } || { say "error cannot write to $cache"; exit 0; }
echo "$3" >"$cache/owner"
cd "$cache/$2" || exit 0
for file in *.engine; do [ -e "$file" ] && say "engine $file"; done
if [ -e reference ]; then say "reference $(cat reference)"; touch -c "$(cut -d ' ' -f 1 reference)"; fi
echo >>timed; say "timed $(wc -l <timed)"
[ -s timing.cache ] && cp timing.cache "$work/timing.cache"  # a copy, so that an interrupted build cannot spoil the cache
has flock || say unlocked
[ "$bounded" ] || say unbounded
say "work $work"
cd "$cache" || exit 0
while :; do
    beat <&3 8<&- 9<&- & pulse=$!
    wait "$pulse" || break
done
if has flock; then exec 8<"$running"; guard 60 flock 8; fi  # the run must have ended before its files are deleted
rm -rf "$work" "$cache/owner"
trim "$4"
"""
)

UPLOAD = (
    PRELUDE
    + r"""
# UPLOAD PATH SIZE <data
if [ "$bounded" ]; then bound='timeout 900'; else bound=; fi
if $bound cat >"$1.part" && [ "$(wc -c <"$1.part")" -eq "$2" ]; then mv "$1.part" "$1"; else rm -f "$1.part"; exit 1; fi
"""
)

RUN = (
    PRELUDE
    + r"""
# RUN NONCE SECONDS FOLDER TIMES ENGINE COMMAND...: run a program, trtexec mostly, and print the board's state before and
# after it.
# TIMES is the times file it writes, ENGINE the kept engine it uses; both may be empty.
nonce=$1 limit=$2 folder=$3 times=$4 engine=$5; shift 5
exec 3<&0
cd "$folder" || exit 1
[ -z "$engine" ] || touch -c "$engine"  # the engines used last are kept longest
[ -z "$times" ] || rm -f "$times"
exec 8<"$running"
if has flock && ! guard 60 flock 8; then mark busy; exit 0; fi  # trtexec inherits the lock, which is free only after its end
mark before; state
begun=$(date +%s)
mark log
guard "$limit" "$@" 2>&1
status=$?
mark after; state
mark times
if [ -n "$times" ] && [ -s "$times" ]; then cat "$times"; fi
mark end; echo "$status $(($(date +%s) - begun))"
"""
)

KEEP = (
    PRELUDE
    + r"""
# KEEP FOLDER WORK ENGINE: move a built engine and the timing cache into the cache. The session's end limits its size.
folder=$cache/$1 work=$2
mkdir -p "$folder" && mv "$work/$3" "$folder/$3" || exit 1
if [ -s "$work/timing.cache" ]; then  # a copy, since this session's next build uses it; a move, to be atomic
    new=$folder/timing.new
    cp "$work/timing.cache" "$new" && mv "$new" "$folder/timing.cache" || rm -f "$new"
fi
"""
)

FETCH = (
    PRELUDE
    + r"""
# FETCH NONCE PATH: print a file's size, then the file in base64.
nonce=$1
if [ "$bounded" ]; then bound='timeout 900'; else bound=; fi
mark size; wc -c <"$2" || exit 1
mark data; $bound base64 <"$2" || exit 1
mark end
"""
)

REMOVE = PRELUDE + 'rm -f "$cache/$1/$2"  # REMOVE FOLDER ENGINE: delete a kept engine\n'

DROP = PRELUDE + "trim 0  # DROP: delete all engines and timing caches\n"

SET_REFERENCE = (
    PRELUDE
    + r"""
# SET_REFERENCE FOLDER LINE: store the reference network's figure and restart the count of measurements.
echo "$2" >"$cache/$1/reference" && : >"$cache/$1/timed"
"""
)
