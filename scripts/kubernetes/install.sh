#!/bin/sh
# Installs wedge on a Kubernetes node, or removes it again. Idempotent.
#
#     install.sh [--shim FILE] [--bin DIRECTORY] [--config FILE]
#     install.sh --uninstall [--bin DIRECTORY] [--config FILE]
#
# It copies the executable, writes the options file, wedge.toml, next to containerd's configuration unless there
# is one, and maintains a block of its own at the end of that configuration. Run it again when containerd has gone
# from 1.x to 2.x or back, whose blocks differ, and, for containerd 2, when you have changed the options, which are
# copied into its block. If containerd does not accept the result, nothing is changed. containerd is not restarted:
# do that when it suits you; containers survive it.
set -eu

here=$(dirname "$0")
name=containerd-shim-wedge-v2
shim=$here/../../dist/$name
bin=/usr/local/bin
config=/etc/containerd/config.toml
action=install
begin='# wedge: begin (kept by install.sh)'
end='# wedge: end'

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --uninstall) action=uninstall ;;
    --shim | --bin | --config)
      [ $# -gt 1 ] || fail "$1 needs a value"
      case $1 in
        --shim) shim=$2 ;;
        --bin) bin=$2 ;;
        --config) config=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown argument: $1. Use --shim, --bin, --config or --uninstall" ;;
  esac
  shift
done

options=$(dirname "$config")/wedge.toml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The configuration without our block, and without the empty line before it.
without_block() {
  [ ! -e "$config" ] || awk -v begin="$begin" -v end="$end" '
    $0 == begin { inside = 1; held = 0 }
    !inside { if (held) print ""; held = ($0 == ""); if (!held) print }
    $0 == end { inside = 0 }
    END { if (held) print "" }' "$config"
}

# Our block for the configuration in that file, which may be without a version as long as it is empty.
block_for() {
  version=$(sed -n 's/^version *= *\([0-9]*\).*/\1/p' "$1" | head -n 1)
  if [ -z "$version" ]; then
    if [ -s "$1" ]; then fail "$config has no version line: containerd reads it as version 1, which does not support such runtimes"; fi
    version=2
    echo "version = 2" >"$1"
  fi
  case $version in
    2) plugin=io.containerd.grpc.v1.cri ;;
    3) plugin=io.containerd.cri.v1.runtime ;;
    *) fail "$config has version $version: only 2 and 3 are supported" ;;
  esac
  if containerd --version | grep -q ' v\{0,1\}1\.'; then
    sed "s|/etc/containerd/wedge.toml|$options|" "$here/containerd-1.toml"
  else
    sed "s|io.containerd.cri.v1.runtime|$plugin|; s|/usr/local/bin/|$bin/|; /\.options\]\$/q" "$here/containerd-2.toml"
    sed 's/^/    /' "$work/wedge.toml"
  fi
}

# Fails if containerd does not accept the new configuration.
check_config() {
  if cmp -s "$work/config.toml" "$config"; then return 0; fi
  containerd --config "$work/config.toml" config dump >/dev/null 2>"$work/errors" ||
    fail "containerd refuses the new configuration, nothing is changed: $(tail -n 1 "$work/errors")"
}

replace_config() {
  if cmp -s "$work/config.toml" "$config"; then return 0; fi
  [ ! -e "$config" ] || cp -p "$config" "$config.before-wedge"
  mkdir -p "$(dirname "$config")"
  cp "$work/config.toml" "$config.new"
  mv "$config.new" "$config"
  echo "changed $config"
}

if [ "$action" = uninstall ]; then
  if [ -e "$config" ]; then
    without_block >"$work/config.toml"
    check_config
    replace_config
  fi
  # Running shims keep their executable; containers started from now on use another runtime.
  rm -f "$bin/$name" "$options"
  echo "wedge is removed. Restart containerd when none of its pods is left"
  exit 0
fi

[ -x "$shim" ] || fail "no executable at $shim: run npm run build, or name one with --shim"
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
without_block >"$work/config.toml"
if [ -e "$options" ]; then
  cp "$options" "$work/wedge.toml"
elif grep -q 'SystemdCgroup *= *true' "$work/config.toml"; then
  # As the other runtimes of this node have it.
  sed 's/^SystemdCgroup = false/SystemdCgroup = true/' "$here/wedge.toml" >"$work/wedge.toml"
else
  cp "$here/wedge.toml" "$work/wedge.toml"
fi
block_for "$work/config.toml" >"$work/block"
{
  echo
  echo "$begin"
  cat "$work/block"
  echo "$end"
} >>"$work/config.toml"
check_config
# In place before the configuration names it.
if ! cmp -s "$shim" "$bin/$name"; then
  # Moved into place: a running shim keeps the file that it was started from.
  cp "$shim" "$bin/$name.new"
  chmod 755 "$bin/$name.new"
  mv "$bin/$name.new" "$bin/$name"
  echo "wrote $bin/$name"
fi
replace_config
if [ ! -e "$options" ]; then
  cp "$work/wedge.toml" "$options"
  echo "wrote $options"
fi
echo "wedge is installed. Restart containerd, then apply $here/runtime-class.yaml"
