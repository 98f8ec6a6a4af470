"""The README's table of speed, from the report of `unisal benchmark --json`.

    python -m benchmarks.table benchmarks/results/speed_cpu.json [--into README.md]

With --into the table replaces what stands between the lines `<!-- speed -->` and `<!-- /speed -->`.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from unisal_jax.files import atomic_path

NAMES = {
    "stream": "unisal-jax, streaming with recurrence",
    "torch_eager": "PyTorch eager, the original code",
    "torch_compile": "`torch.compile`, the original code",
    "static": "unisal-jax, one picture",
    "onnxruntime": "ONNX Runtime, the public file",
}
AGAINST = {"stream": "stream", "torch_eager": "stream", "torch_compile": "stream"}


def table(report: dict[str, Any]) -> str:
    """Markdown: a row a program; ratios and bounds are of medians, and of the least in brackets."""
    machine, rates = report["machine"], report["rates"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine["versions"].items()))
    lines = [
        "| | input | least ms | median ms | 90% ms | over ours | GFLOP | over the bound of its FLOPs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        if name not in report["latency"]:
            continue
        row, kind = report["latency"][name], AGAINST.get(name, "static")
        size = "x".join(map(str, report["input_sizes"][kind]))
        found = report["ratios"].get(name)
        ratio = f"{found['median']:.1f} ({found['min']:.1f})" if found else "1"
        flops = f"{report['cost'][name]['gflop']:.2f}" if name in report["cost"] else "-"
        share = report["share"].get(name)
        bound = f"{share['bound']:.2f} ({share['bound_min']:.2f})" if share else "-"
        lines.append(
            f"| {label} | {size} | {row['min_ms']:.1f} | {row['median_ms']:.1f} | {row['p90_ms']:.1f} "
            f"| {ratio} | {flops} | {bound} |"
        )
    lines += [
        "",
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; "
        f"{report['repeats']} rounds in turn; of medians, in brackets of the least; matrix product "
        f"{rates['matmul_gflops']:.0f} GFLOP/s (best {rates['matmul_gflops_best']:.0f}) and memory "
        f"{rates['memory_gb_per_s']:.0f} GB/s in the same rounds. {versions}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or puts it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--into", type=Path, metavar="FILE")
    args = parser.parse_args()
    made = table(json.loads(args.report.read_text()))
    if args.into is None:
        print(made)
        return
    text = args.into.read_text()
    mark = re.compile(r"(<!-- speed -->\n).*?(<!-- /speed -->)", re.DOTALL)
    if not mark.search(text):
        raise SystemExit(f"{args.into}: no lines <!-- speed --> and <!-- /speed -->")
    with atomic_path(args.into) as temporary:
        temporary.write_text(mark.sub(lambda found: f"{found[1]}{made}\n{found[2]}", text))


if __name__ == "__main__":
    main()
