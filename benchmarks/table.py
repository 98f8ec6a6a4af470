"""Makes the table of docs/speed.md from a report of `unisal benchmark --json`.

    python -m benchmarks.table benchmarks/results/speed_cpu.json [--into docs/speed.md]

With --into, the table replaces the text between the lines `<!-- speed -->` and `<!-- /speed -->`.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from unisal_jax.files import atomic_path

NAMES = {
    "ours": "unisal-jax",
    "jax": "unisal-jax, engine jax",
    "exported": "our ONNX file in ONNX Runtime, without this package",
    "openvino": "our ONNX file in OpenVINO, float32",
    "public_onnx": "the public ONNX file in ONNX Runtime",
    "torch_eager": "the original code, PyTorch eager",
    "torch_compile": "the original code, `torch.compile`",
}
TASKS = {"stream": "streaming with recurrence", "static": "one image"}


def table(report: dict[str, Any]) -> str:
    """Markdown, a row per program and task; ratios are medians over rounds (in brackets: of least times)."""
    machine, rates = report["machine"], report["rates"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine["versions"].items()))
    lines = [
        "| | Task | Least ms | Median ms | 90th percentile | Over ours | Over the bound of its FLOPs |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, of_task in TASKS.items():
        size = "x".join(map(str, report["input_sizes"][task]))
        for name, label in NAMES.items():
            row = report["latency"][task].get(name)
            if row is None:
                continue
            found = report["ratios"][task].get(name)
            ratio = f"{found['median']:.2f} ({found['min']:.2f})" if found else "1"
            share = report["share"][task]
            bound = f"{share['bound']:.2f} ({share['bound_min']:.2f})" if name == "ours" else "-"
            lines.append(
                f"| {label} | {of_task}, {size} | {row['min_ms']:.1f} | {row['median_ms']:.1f} "
                f"| {row['p90_ms']:.1f} | {ratio} | {bound} |"
            )
    flops = " and ".join(f"{report['cost'][task]['gflop']:.2f} GFLOP ({of})" for task, of in TASKS.items())
    lines += [
        "",
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; engine "
        f"{report['engine']}; {report['repeats']} rounds, one process per program, in turn. Ratios are "
        f"medians over rounds, in brackets those of the least times. {flops}. In the same rounds a matrix "
        f"product ran at {rates['matmul_gflops']:.0f} GFLOP/s (best {rates['matmul_gflops_best']:.0f}) and "
        f"memory at {rates['memory_gb_per_s']:.0f} GB/s. {versions}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or inserts it into a file."""
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
