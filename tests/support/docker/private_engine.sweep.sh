# Removes the engine in the folder $ENGINE, on the machine's network $BRIDGE, and all it has.
own() { DOCKER_HOST="unix://$ENGINE/docker.sock" timeout 30 docker "$@"; }

# Where nobody buries the dead they stay in the table.
lives() {
  [ -n "$1" ] && case $(sed 's/.*) //' "/proc/$1/stat") in ''|Z*) false;; esac
}

kill -CONT "$(cat "$ENGINE/pid")"
begun=
[ -f "$ENGINE/config.json" ] && for try in $(seq 60); do
  if containers=$(own ps -aq) && networks=$(own network ls -q --filter type=custom); then
    [ -n "$containers$networks" ] || break
    [ -z "$containers" ] || own rm --force --volumes $containers
    # Bridges would outlive it.
    [ -z "$networks" ] || own network rm $networks
  elif ! lives "$begun" && ! lives "$(cat "$ENGINE/pid")"; then
    # It alone can end its containers, which may outlive it.
    rm -f "$ENGINE/pid"
    lives "$(cat "$ENGINE/exec/containerd/containerd.pid")" || rm -f "$ENGINE/exec/containerd/containerd.pid"
    dockerd --config-file "$ENGINE/config.json" &
    begun=$!
  else
    sleep 0.2
  fi
done

daemon=$(cat "$ENGINE/pid")
kill "$daemon"
for try in $(seq 100); do
  lives "$daemon" || break
  sleep 0.1
done
# Shims outlive an engine that was killed.
for process in /proc/[0-9]*; do
  if tr '\0' ' ' <"$process/cmdline" | grep --quiet --fixed-strings "$ENGINE"; then
    kill -KILL "${process#/proc/}"
  fi
done
# Its small disk; and an engine mounts its data over itself each time that it begins, which
# one that was killed leaves behind.
grep --fixed-strings " $ENGINE/" /proc/mounts | cut -d ' ' -f 2 | sort --reverse |
  xargs --no-run-if-empty --max-args=1 umount --lazy
docker network rm "$BRIDGE"
rm -r --force --one-file-system "${ENGINE:?}"
