#!/usr/bin/env bash
# Measures the essentials on a machine with a GPU, in at most nine minutes after installation.
#
#   benchmarks/gpu.sh                    # with JAX for CUDA 12 in its own virtual environment, .venv-gpu
#   PYTHON=python3 benchmarks/gpu.sh     # with a Python that has JAX for the GPU and the requirements
#   PYTHON=.venv/bin/python benchmarks/gpu.sh --tiny    # a test of this script on a CPU with tiny sizes
#
# The most important part runs first. Each result is written as soon as it exists, to $OUT or
# benchmarks/results/gpu: compile.json, train_step.json, smoke.jsonl, speed.json, layers.json, golden.txt, and
# log.txt with the output and exit status of each part. A part that exceeds its time limit is stopped; the
# others still run. The released weights are downloaded; offline, set UNISAL_CACHE to a folder with them.
set -uo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-benchmarks/results/gpu}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

clips=4 frames=12 images=32 size=() repeats=5 patience=1
compiling=(--dtype bfloat16) dtypes=bfloat16,float32
smoke=(--config.synthetic.train=16)
benchmark=(--dtype bfloat16 --batches 1,64,256 --repeats 20)
profile=(--frames 60)
tests=()
if [ "${1:-}" = --tiny ]; then
  export JAX_PLATFORMS=cpu XLA_FLAGS="${XLA_FLAGS:-} --xla_backend_optimization_level=0"
  clips=1 frames=2 images=1 size=(--input-size 32x64) repeats=1 patience=4
  compiling=(--dtype float32 --only salicon) dtypes=float32
  small="'data': 'synthetic', 'batch_size': 2, 'input_size': (32, 64), 'target_size': (32, 64)"
  smoke=("--config.domains={'salicon': {$small}}" --config.optimizer.domain_only=true)
  benchmark=(--batches 1,2 --repeats 2 --input-size 32x64 --engine jax)
  profile=(--frames 2)
  tests=(-k salicon_image)
elif [ $# -gt 0 ]; then
  echo "gpu.sh: $1: the only flag is --tiny" >&2
  exit 1
fi

if [ -z "${PYTHON:-}" ]; then
  PYTHON=.venv-gpu/bin/python
  if [ ! -e .venv-gpu/.ready ]; then
    python3 -m venv .venv-gpu && $PYTHON -m pip install --quiet --editable '.[test]' 'jax[cuda12]' &&
      touch .venv-gpu/.ready || exit 1
  fi
fi

# An empty cache, so that compile times are those of a first run; later parts reuse programs.
export JAX_COMPILATION_CACHE_DIR=$work/programs JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.3

failed=0
# part NAME SECONDS COMMAND...: runs a command with a time limit, and logs its exit status.
part() {
  local name=$1 limit=$(($2 * patience)) start=$SECONDS status
  shift 2
  echo "== $name: $*" | tee -a "$out/log.txt"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee -a "$out/log.txt"
  status=${PIPESTATUS[0]}
  echo "== $name: status $status (124: exceeded $limit s) after $((SECONDS - start)) s" | tee -a "$out/log.txt"
  [ "$status" = 0 ] || failed=1
}

: > "$out/log.txt"
part machine 20 "$PYTHON" -c 'import jax; print(jax.__version__, jax.devices(), jax.devices()[0].device_kind)'

batch=(--clips $clips --frames $frames --images $images "${size[@]}")
part compile 120 "$PYTHON" -m benchmarks.compiling "${compiling[@]}" "${batch[@]}" --json "$out/compile.json"

part train_step 140 "$PYTHON" -m benchmarks.train_step --no-cpu --devices 1 --dtypes $dtypes \
  --repeats $repeats "${batch[@]}" --json "$out/train_step.json"

# Two epochs of 32 steps. The second run resumes and trains the encoder, with other compiled programs.
train=("$PYTHON" -m unisal_jax train --config smoke --workdir "$work/smoke" "${smoke[@]}")
part smoke 60 "${train[@]}" --config.epochs=1
part resume 50 "${train[@]}" --config.epochs=2
cp "$work/smoke/metrics.jsonl" "$out/smoke.jsonl" || failed=1

part speed 50 "$PYTHON" -m unisal_jax benchmark --no-peers "${benchmark[@]}" --json "$out/speed.json"
part profile 30 "$PYTHON" -m benchmarks.layers "${profile[@]}" --json "$out/layers.json"

golden=(tests/models/test_golden.py tests/inference/test_network.py)
part golden 60 "$PYTHON" -m pytest -q -p no:cacheprovider "${golden[@]}" "${tests[@]}"
sed -n '/== golden: /,$p' "$out/log.txt" > "$out/golden.txt"

exit $failed
