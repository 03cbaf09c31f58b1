"""In the place of `sepcon` when a study is tested: writes in no time what the verbs would write.

usage: study_child.py FOLDER VERB FLAGS. FOLDER/calls.txt receives a line for each call; a call
whose run folder is named in FOLDER/hang.txt does not end, one in FOLDER/fail.txt fails; benchmarks
keep embeddings of the role that FOLDER/embed.txt names.
"""

import ast
import json
import sys
import time
from pathlib import Path


def flags(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        found.setdefault(name, []).append(value)
    return found


def score(row: str, seed: int) -> float:
    """Higher for longer names; the seed moves all rows alike, and each a little by itself."""
    return 0.2 + 0.001 * len(row) + 0.01 * seed + 0.0001 * (len(row) * (seed + 1) % 7)


def result(row: str, seed: int) -> dict[str, object]:
    value = score(row, seed)
    return {
        "name": row,
        "seed": seed,
        "mAP": value,
        "mAP_low": value - 0.02,
        "mAP_high": value + 0.02,
        "d_prime": 10 * value,
        "validation_mAP": value + 0.1,
        "linear_mAP": value - 0.05,
        "a_further_measure": 7,
        "seconds": 1.5,
    }


def write_embeddings(folder: Path) -> None:
    """Twenty clips of two classes."""
    # Here, so that the calls that need no such thing are as quick as they can be.
    import numpy as np

    from sepcon.embeddings.store import EmbeddingWriter, StoreLayout

    labels = np.eye(2, dtype=np.uint8)[np.arange(20) % 2]
    layout = StoreLayout("clips", "model", ("low", "high"), 20, 20)
    writer = EmbeddingWriter(folder, layout)
    embedding = np.random.default_rng(0).normal(size=(20, 8)) + 5 * labels[:, :1]
    writer.write_shard(0, ids=np.arange(20).astype(str), embedding=embedding, labels=labels)
    writer.finish()


def main(folder: Path, verb: str, given: dict[str, list[str]]) -> int:
    run = Path(given["run_dir"][0])
    with open(folder / "calls.txt", "a") as calls:
        calls.write(f"{verb} {run.name} {json.dumps(given)}\n")
    for name in ("hang", "fail"):
        wanted = folder / f"{name}.txt"
        if wanted.is_file() and str(run).endswith(wanted.read_text()):
            if name == "fail":
                print("sepcon: error: no such thing", file=sys.stderr)
                return 1
            time.sleep(60)
    run.mkdir(parents=True)
    bindings = dict(each.split("=", 1) for each in given.get("gin_bindings", []))
    if verb == "benchmark":
        names = [*ast.literal_eval(bindings["MODELS"]), *ast.literal_eval(bindings["BASELINES"])]
        seeds = ast.literal_eval(bindings["SEEDS"])
        rows = [result(name, seed) for name in names for seed in seeds]
        (run / "results.json").write_text(json.dumps(rows))
        role = folder / "embed.txt"
        if role.is_file():
            write_embeddings(run / "embeddings" / "model" / role.read_text())
    if verb == "pretrain":
        lines = [{"step": step, "similarity_loss": 1 / step} for step in (1, 2)]
        (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    if verb == "channel_cost":
        print("cost of channels")
    (run / "run.json").write_text(json.dumps({"seconds": 3.0, "steps": 2, "commit": "abc"}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], flags(sys.argv[3:])))
