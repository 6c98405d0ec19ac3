#!/usr/bin/env bash
# Build the wheel and use it in an environment of its own, far from the checkout. Works offline: the dependencies are
# those of the given Python, the package is the one in the wheel.
#   scripts/smoke_wheel.sh .venv/bin/python
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m build --wheel --no-isolation --outdir "$place" "$here" > "$place/build.log" 2>&1 || { cat "$place/build.log"; exit 1; }
"$python" -m venv --without-pip "$place/env"
packages=$("$place/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -m pip install --quiet --no-deps --no-index --target "$packages" "$place"/qprune-*.whl
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$packages/dependencies.pth"

cd "$place"
from=$(env/bin/python -c 'import qprune_cli; print(qprune_cli.__file__)')
case "$from" in "$place"/*) ;; *) echo "smoke_wheel: imported $from, not the wheel"; exit 1 ;; esac
env/bin/python -m qprune_cli list solver
env/bin/python -m qprune_cli run experiment=smoke solver=hybrid_qubo sparsity=0.5 output_root="$place/outputs"
test -f "$place"/outputs/runs/*/manifest.json
grep -q "</html>" "$place"/outputs/runs/*/report.html
echo "smoke_wheel: passed"
