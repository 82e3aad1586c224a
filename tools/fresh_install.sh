#!/usr/bin/env bash
# Does the project work on a fresh Debian 12? Makes one with debootstrap, gives it git and make, clones
# this repository's HEAD inside and runs there `make demo`, then `make test`, then `make test` from
# nothing (build and compiler cache removed). Prints the times as `make accept` prints figures; all
# other output goes to standard error.
# Usage: tools/fresh_install.sh [DIR [TARGET…]]   (as root)
#
# DIR must be absent or empty and is kept; without it, a temporary folder is removed at the end. TARGETs
# are run instead of demo and test. Needs debootstrap and about 30 GB.
#
# The fresh system borrows this machine's settings of apt and pip, its certificates and name servers. The
# mounts live in a name space of their own: they end with this script.
set -euo pipefail

if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  echo "fresh: found user $(id -un), debootstrap at '$(command -v debootstrap)'; expected root, and debootstrap" \
       "(apt-get install debootstrap)" >&2
  exit 1
fi
dir=${1:-}
if [ -n "$(ls -A "$dir" 2>/dev/null)" ] && [ -z "${ONEBIT_FRESH_MOUNTS:-}" ] && [ -n "$dir" ]; then
  echo "fresh: $dir: found a folder that is not empty, expected none or an empty one" >&2
  exit 1
fi
if [ -z "${ONEBIT_FRESH_MOUNTS:-}" ]; then
  made=${dir:-$(mktemp -d "${TMPDIR:-/tmp}/onebit-fresh-XXXXXX")}
  status=0
  ONEBIT_FRESH_MOUNTS=1 unshare --mount --propagation private "$(readlink -f "$0")" "$made" "${@:2}" || status=$?
  # Out here nothing is mounted in it.
  [ -n "$dir" ] || rm -rf --one-file-system "$made"
  exit "$status"
fi

root=$(cd "$(dirname "$0")/.." && pwd)
targets=("${@:2}")
mkdir -p "$dir"
dir=$(readlink -f "$dir")

lend() {  # bind a file or folder of this machine, read-only, where it exists
  [ -e "$1" ] || return 0
  if [ -d "$1" ]; then mkdir -p "$dir$2"; else mkdir -p "$dir$(dirname "$2")" && touch "$dir$2"; fi
  mount --bind "$1" "$dir$2"
  mount -o remount,bind,ro "$dir$2"
}

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
debootstrap --variant=minbase bookworm "$dir" ${mirror:+"$mirror"} >&2
mount --rbind /dev "$dir/dev"
mount -t proc proc "$dir/proc"
lend /etc/apt /etc/apt
lend /etc/resolv.conf /etc/resolv.conf
lend /usr/local/share/ca-certificates /usr/local/share/ca-certificates
for settings in /etc/pip.conf /etc/xdg/pip; do lend "$settings" "$settings"; done
for settings in .config/pip .pip; do lend "$HOME/$settings" "/root/$settings"; done
# Until the package ca-certificates makes its own.
mkdir -p "$dir/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/" 2>/dev/null || true
settings=()
while IFS= read -r name; do settings+=("$name=${!name}"); done < \
  <(compgen -e | grep -E '^(PIP_.*|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|GIT_SSL_CAINFO|.*_proxy|.*_PROXY)$')
for folder in ${PIP_FIND_LINKS:-}; do [ ! -d "$folder" ] || lend "$folder" "$folder"; done

inside() {
  chroot "$dir" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "${settings[@]}" bash -c "cd /root/onebit 2>/dev/null; $1" >&2
}

# figure, command, bound in seconds (0: none)
timed() {
  local begin=$SECONDS status=0 seconds verdict=pass bound="succeeds"
  inside "$2" || status=$?
  seconds=$((SECONDS - begin))
  [ "$3" = 0 ] || bound="< $(($3 / 60)) min"
  if [ "$status" != 0 ] || { [ "$3" != 0 ] && [ "$seconds" -ge "$3" ]; }; then verdict=FAIL; fi
  printf '%-10s | %-52s | %12s | %-20s | %s\n' fresh "$1" \
    "$((seconds / 60)) min $((seconds % 60)) s" "$bound" "$verdict"
  [ "$verdict" = pass ] || failed=1
}

inside "apt-get update -qq && apt-get install -y -qq --no-install-recommends git make"
git -C "$root" bundle create -q "$dir/root/onebit.bundle" HEAD
inside "git -c advice.detachedHead=false clone -q /root/onebit.bundle /root/onebit"
failed=0
for target in "${targets[@]:-demo test}"; do
  for one in $target; do timed "make $one" "make $one" 0; done
done
if [ "${#targets[@]}" = 0 ]; then
  timed "make test from nothing" "make clean && CCACHE_DISABLE=1 make test" $((25 * 60))
fi
exit "$failed"
