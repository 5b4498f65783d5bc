#!/usr/bin/env bash
# One template directory shown to two tenants at once, each owning it under other ids, with no file copied or chowned;
# beside it what that costs with `cp -a` and `chown -R`. Run as root: idshift.sh [FILES]
set -euo pipefail
files=${1:-30000}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
layerfs() { node "$here/../bin/layerfs.js" "$@"; }
[ "$(id -u)" = 0 ] || {
  echo "idshift.sh: run it as root: it makes files of several owners" >&2
  exit 1
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/layerfs-idshift-XXXXXX")
clean() {
  for tenant in one two; do
    mountpoint -q "$dir/$tenant" && umount -l "$dir/$tenant"
  done
  rm -rf "$dir"
}
trap clean EXIT
mkdir "$dir/template" "$dir/one" "$dir/two"

# Seconds that a command takes, to the hundredth.
seconds() {
  local start=$EPOCHREALTIME
  "$@" >/dev/null
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }'
}

fill() {
  local i
  for ((i = 0; i < files; i++)); do
    ((i % 100)) || mkdir "$dir/template/d$((i / 100))"
    echo "file $i" >"$dir/template/d$((i / 100))/f$i"
  done
  chown -R 1:1 "$dir/template/d0"
}

shift_ids() {
  layerfs mount --lower "$dir/template" --ephemeral --uidmap "0:$2:65536" --gidmap "0:$2:65536" "$dir/$1"
}

copy_ids() {
  cp -a "$dir/template" "$dir/copy-$1"
  chown -R "$2:$2" "$dir/copy-$1"
}

echo "making a template of $files files"
fill
echo "two mounts, ids shifted by 100000 and 200000: $(seconds shift_ids one 100000) s + $(seconds shift_ids two 200000) s"
for tenant in one two; do
  echo "  owners in $tenant: $(stat -c %u "$dir/$tenant/d0") and $(stat -c %u "$dir/$tenant")"
  found=$(find "$dir/$tenant" -type f | wc -l)
  [ "$found" = "$files" ] || { echo "idshift.sh: $tenant shows $found files of $files" >&2; exit 1; }
done
echo "two copies, each with cp -a and chown -R: $(seconds copy_ids one 100000) s + $(seconds copy_ids two 200000) s"
echo "  disk used by them: $(du -sm "$dir/copy-one" "$dir/copy-two" | awk '{ n += $1 } END { print n }') MB"
for tenant in one two; do layerfs umount "$dir/$tenant"; done
