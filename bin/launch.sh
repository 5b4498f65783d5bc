# What bin/layerfs, bin/fuse-layerfs and bin/mount.fuse.layerfs do to mount; they source it. Node takes longer to start than a mount to make. So a
# running `layerfs host` is asked first. Without one Node is started once: the process that reads the command line becomes
# the daemon, and tells this shell with a signal that the mount is ready.

# launch PROGRAM WORDS...
launch() {
  ask_host "$@"
  trap 'exit 0' USR1
  LAYERFS_LAUNCHER=$$ node "$bin/launched.cjs" "$@" &
  wait $!
}

# Returns where no host of this user and these namespaces runs, or where it leaves the words to a process of their own.
# A host has a FIFO here, named by its process and descriptor. It answers with SIGUSR1; what it says is in the file of the call.
ask_host() {
  place=${XDG_RUNTIME_DIR:-/nonexistent}/layerfs
  [ ! -O /run ] || place=/run/layerfs
  [ -O "$place" ] || return 0
  for calls in "$place"/*.*; do
    host=${calls##*/}
    host=/proc/${host%.*}/fd/${host#*.}
    [ "$host" -ef "$calls" ] || continue
    for ns in mnt user pid; do
      [ "${host%/fd/*}/ns/$ns" -ef /proc/self/ns/$ns ] || continue 2
    done
    call=$place/call-$$
    answered=
    seconds=0
    trap 'answered=yes' USR1
    # The signal ends a wait, so what is waited for has to be there before the host is asked.
    sleep 1 >/dev/null 2>&1 &
    { printf '%s\0' "$PWD" "$@" >"$call" && echo $$ >"$host"; } 2>/dev/null || {
      kill $! 2>/dev/null
      rm -f "$call"
      continue
    }
    while [ -z "$answered" ]; do
      wait $!
      [ -z "$answered" ] && [ "$host" -ef "$calls" ] && [ $((seconds += 1)) -lt 60 ] || break
      sleep 1 >/dev/null 2>&1 &
    done
    kill $! 2>/dev/null
    hear_host
    return 0
  done
}

# A host that is content leaves no file. Else: its exit code, or "own", and then what is to be said.
hear_host() {
  if [ -z "$answered" ]; then
    rm -f "$call"
    echo "layerfs: the host (${host%/fd/*}) ended, or did not answer within 60 s: does a layer's filesystem answer?" >&2
    exit 25
  fi
  [ -f "$call" ] || exit 0
  {
    read -r code
    while IFS= read -r line; do printf '%s\n' "$line" >&2; done
  } <"$call"
  rm -f "$call"
  [ "$code" = own ] || exit "$code"
}
