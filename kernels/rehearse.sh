#!/usr/bin/env bash
# Run a notebook as Kaggle's scorer would: no network, read-only inputs, an empty HOME and working folder, no optional
# decoders, a time limit. Ends with the notebook's own exit code, 124 at the time limit.
#
#   kernels/rehearse.sh NOTEBOOK WORK new|old SOURCE=KIND:REF ...
#
# WORK becomes the working folder. SOURCE=KIND:REF is a folder and what it is mounted as, for example
#   data=competition:rsna-2024-lumbar-spine-degenerative-classification   staged/dataset=dataset:alice/rsna-lumbar-kit
# PYTHON has papermill. RERUN=1 sets the hidden rerun's flag, WITHOUT_ROOT=1 skips the mounts. LIMIT_S is the limit in seconds.
#
# As root the mounts are real and read-only under /kaggle. Otherwise they are links in a scratch folder, which the
# notebook gets by KAGGLE_INPUT, in a namespace without network where the system allows users one.
set -euo pipefail
notebook=$(realpath "$1") work=$(realpath -m "$2") layout=$3
shift 3
PYTHON=$(realpath -s "$(command -v "${PYTHON:-python3}")")
mkdir -p "$work"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/home" "$scratch/absent"

# What Kaggle's image lacks must not be importable here either.
cat > "$scratch/absent/sitecustomize.py" <<'PY'
import sys

for name in ("pylibjpeg", "libjpeg", "openjpeg", "gdcm"):
    sys.modules[name] = None
PY

mount_path() { # where KIND:REF is mounted, below the root of the inputs
  local kind=${1%%:*} ref=${1#*:}
  case $layout-$kind in
    new-competition) echo "competitions/$ref" ;;
    new-*) echo "${kind}s/$ref" ;;
    old-competition) echo "$ref" ;;
    old-*) echo "${ref##*/}" ;;
  esac
}

# A fresh environment: no credentials, caches or package indexes of this machine.
environment=(
  PATH="$PATH" LANG=C.UTF-8 PYTHONPATH="$scratch/absent" PYTHONDONTWRITEBYTECODE=1
  HOME="$scratch/home" HF_HOME="$scratch/home/hf" TORCH_HOME="$scratch/home/torch" PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1
  CUDA_VISIBLE_DEVICES= KAGGLE_KERNEL_RUN_TYPE=Batch
)
[ "${RERUN:-}" ] && environment+=(KAGGLE_IS_COMPETITION_RERUN=1)
for name in KIT_LIMIT_MINUTES KIT_TRAIN KIT_PREPARE; do
  [ "${!name:-}" ] && environment+=("$name=${!name}")
done
run=(timeout "${LIMIT_S:-32400}" "$PYTHON" -m papermill --log-output --no-progress-bar -k python3 "$notebook")

if [ -z "${WITHOUT_ROOT:-}" ] && [ "$(id -u)" = 0 ] && unshare -n -m true 2> /dev/null; then
  mkdir -p /kaggle # remains, empty; what is mounted in it exists in the namespace only
  mounts=()
  for spec in "$@"; do mounts+=("$(realpath "${spec%%=*}")" "$(mount_path "${spec#*=}")"); done
  # shellcheck disable=SC2016 # expanded by the inner shell
  unshare -n -m --propagation private -- bash -euo pipefail -c '
    work=$1; shift
    ip link set lo up # down in a new namespace, and the notebook talks to its kernel over it
    mount -t tmpfs tmpfs /kaggle
    mkdir -p /kaggle/input /kaggle/working
    while [ "$1" != -- ]; do
      mkdir -p "/kaggle/input/$2"
      mount --bind "$1" "/kaggle/input/$2"
      mount -o remount,bind,ro "/kaggle/input/$2"
      shift 2
    done
    shift
    mount -o remount,ro tmpfs /kaggle 2> /dev/null || true
    mount --bind "$work" /kaggle/working
    mount -o remount,bind,rw /kaggle/working
    cd /kaggle/working
    exec "$@"
  ' _ "$work" "${mounts[@]}" -- env -i "${environment[@]}" "${run[@]}" /kaggle/working/__notebook__.ipynb
else
  input="$scratch/input"
  for spec in "$@"; do
    target="$input/$(mount_path "${spec#*=}")"
    mkdir -p "$(dirname "$target")"
    ln -s "$(realpath "${spec%%=*}")" "$target"
  done
  environment+=("KAGGLE_INPUT=$input")
  cd "$work"
  offline=()
  if unshare -r -n true 2> /dev/null; then
    offline=(unshare -r -n -- bash -c 'ip link set lo up && exec "$@"' _)
  else
    echo "rehearse.sh: this system allows users no namespace, so the network stays reachable" >&2
  fi
  "${offline[@]}" env -i "${environment[@]}" "${run[@]}" "$work/__notebook__.ipynb"
fi
