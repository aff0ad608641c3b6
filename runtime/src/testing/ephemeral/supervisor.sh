# Runs a server for as long as somebody uses it, and removes its folder when nobody has for a while.
#
# sh supervisor.sh FOLDER SIGNAL SECONDS SERVER [ARGUMENT ...]
folder=$1 signal=$2 limit=$3
shift 3
cd "$folder" || exit 1
"$@" </dev/null >log 2>&1 &
server=$!
trap 'kill -s "$signal" "$server"' TERM INT HUP

# Processes of other users cannot be sent signals. Where they cannot be seen either (`hidepid`), the refusal tells that there is
# one: a process that has ended gives another error.
alive() {
    [ -d "/proc/$1" ] && return
    case $(LC_ALL=C kill -0 "$1" 2>&1 && echo sent) in
        sent | *"not permitted"*) return 0 ;;
    esac
    ps -p "$1" >/dev/null 2>&1
}

used() {
    for user in "$1"/*; do
        if [ -e "$user" ]; then
            if alive "${user##*/}"; then return 0; fi
            rm -f "$user"
        fi
    done
    return 1
}

idle=0
while kill -0 "$server" 2>/dev/null; do
    sleep 1
    if used users; then
        idle=0
        continue
    fi
    idle=$((idle + 1))
    if [ "$idle" -ge "$limit" ]; then
        # From now on nobody can add a name. Whoever did so a moment ago is found there.
        mv users closing
        if used closing; then
            mv closing users
            idle=0
        else
            kill -s "$signal" "$server"
            break
        fi
    fi
done
wait "$server"
# After a crash the folder has another name, and another supervisor's server has this one.
if here=$(pwd -P 2>/dev/null); then
    cd /
    # Renamed first, because the next server makes a folder of this name as soon as `closing` is gone.
    mv "$here" "$here.$$" && rm -rf "$here.$$"
fi
