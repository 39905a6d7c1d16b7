"""The page of published runs, from the file that ``railgauge import --profile auto`` reads."""

from __future__ import annotations

from bench.exchange.importing.published import LARGE, SLACK, published
from bench.model.units import show_size

from .markdown import table, text


def normal_page() -> str:
    """How to ask, and every published run with its source."""
    rows = [
        (
            f"{each.nodes} × {each.gpus} {each.gpu}",
            f"`{each.collective}`",
            each.size or "large",
            f"{each.busbw:g}",
            each.nccl or "not said",
            text(", ".join(filter(None, (each.where, each.how)))),
            text(each.source),
        )
        for each in sorted(published(), key=lambda each: (each.gpu, each.nodes, each.collective))
    ]
    lines = [
        "# Is my number normal?",
        "Paste the table that nccl-tests printed into a file and ask:",
        "    railgauge import all_reduce.log --profile auto --gpu H100 --nodes 2",
        "`--gpu` and `--nodes` are needed only where the table has no device list. The answer is one sentence for "
        "each table, such as",
        "```text\nPASS: all_reduce, 8 GiB, 2 × 8 H100: 467.5 GB/s busbw is normal: percentile 50 of 4 published runs "
        "(445 to 471.2 GB/s); its rails carried 62 % of 3200 Gb/s\n```",
        "With `--json` it is one object, `railgauge schema import auto`: status, sentence, percentile, number of "
        "published runs and share of the rails of each table.",
        f"It takes the fastest message of {show_size(LARGE)} or more. PASS: at most {100 * SLACK:.0f} % below the "
        "lowest published run of that GPU and node count. FAIL: lower, or wrong results. INCONCLUSIVE: nothing that "
        "can be compared is published, the table is incomplete, or its results were not verified. Published runs are "
        "few, and nobody publishes the bad ones: a normal number is no acceptance.",
        "## The published runs",
        table(("system", "collective", "size", "busbw, GB/s", "NCCL", "where", "source"), rows),
        "Not found in public: all_to_all, reduce_scatter or point-to-point tables of H100 or B200 above two nodes, "
        "and any distribution over rails or pairs.",
    ]
    return "\n\n".join(lines) + "\n"
