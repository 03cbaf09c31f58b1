"""The plan past this machine: its arithmetic by hand, its laws of scale, its commands."""

import dataclasses
import importlib
import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
import warm_python

from sepcon.cli.arguments import flags_of, given_arguments
from sepcon.cli.configuration import read_configuration
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.separator.flops import separator_flops
from sepcon.verbs.registry import VERBS

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = REPOSITORY / "tools"
SMALL = (
    "views/mixture_channel_equalized.gin",
    "models/separator_small.gin",
    "models/encoder_small_cnn.gin",
)
TINY = (
    "SeparatorConfig.bottleneck=6",
    "SeparatorConfig.conv_channels=10",
    "SeparatorConfig.num_repeats=1",
    "SeparatorConfig.num_dilations=2",
    "SEPARATOR_BATCH_SIZE=4",
    "BATCH_SIZE=8",
    "PATCH_SECONDS=2.0",
    "train_separator.segment_seconds=0.5",
)
MEASURED = {
    "tensorflow": "none",
    "device": "CPU",
    "threads": 2,
    "cores": 4,
    "work": {
        "gemm": 100.0,
        "separator_forward": 50.0,
        "separator_step": 40.0,
        "pretraining_step": 20.0,
        "embed": 25.0,
        "import": 10.0,
        "records": 400.0,
        "patches": 5000.0,
        "classifier": 1000.0,
    },
    "seconds": dict.fromkeys(
        ("gemm", "separator_forward", "separator_step", "pretraining_step", "embed"), 1.0
    )
    | {"import": 0.5, "records": 2.0, "patches": 0.5, "classifier": 0.25},
    "processor_share": {"gemm": 1.9},
}


@pytest.fixture(autouse=True)
def tools_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture(scope="module")
def networks():
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("plan_networks").read_networks(SMALL, TINY)
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def costs(networks):
    return sys.modules["plan_networks"].network_costs(
        networks, clip_samples=160_000, num_classes=527
    )


def words(path: Path, *further: str) -> list[str]:
    path.write_text(json.dumps(MEASURED))
    files = [f"--gin_file={each}" for each in SMALL]
    bindings = [f"--gin_bindings={each}" for each in TINY]
    return [*files, *bindings, f"--measurement={path}", *further]


@pytest.fixture
def planned(networks, costs):
    """Plans the tiny networks, whose costs are counted once for all tests."""

    def make(*further: str) -> dict:
        plan = importlib.import_module("plan")
        options = plan._parse(further)
        return plan.plan(options, plan.workload(options), networks, costs, MEASURED)

    return make


def test_costs_are_those_of_formulas(networks, costs):
    config = networks.separator
    assert (config.num_sources, config.bottleneck) == (4, 6)
    # A batch of four clips makes two mixtures of mixtures, and a step is three forward passes.
    assert costs.separator_step_flops == 3 * 2 * separator_flops(config, num_samples=8000)
    assert costs.separate_flops == separator_flops(config, num_samples=160_000)
    # The shallow classifier: 512 to 512 to 527.
    assert costs.classifier_flops == 3 * 2 * (512 * 512 + 512 * 527)


@pytest.mark.parametrize("batch", [8, 768])  # the pairs of the second are compared in blocks
def test_a_pretraining_step_is_patches_heads_and_pairs(networks, batch):
    from plan_networks import network_costs

    costs = network_costs(networks.with_batch(batch), clip_samples=160_000, num_classes=527)
    size, frames = 512, 198
    # small_cnn: strides of 4 by 2, then 2 each; sizes are rounded up.
    shapes = [(50, 32, 8 * 4 * 1, 32), (25, 16, 9 * 32, 64), (13, 8, 9 * 64, 128)]
    shapes += [(7, 4, 9 * 128, 256), (7, 4, 256, size)]
    encoder = sum(2 * f * b * taps * out for f, b, taps, out in shapes)
    projection = 2 * (size * 1024 + 1024 * 512 + 512 * 128)
    of_pairs = 2 * (2 * batch) ** 2 * 128
    coincidence = 2 * batch * 2 * size * 512 + batch**2 * 2 * (512 * 128 + 128 * 128 + 128)
    log_mel = 2 * batch * frames * 2 * 257 * 64
    random_filter = batch * 2 * 8 * 64  # From its knots to the mels, on one view.
    expected = 2 * batch * (encoder + projection) + of_pairs + coincidence + log_mel + random_filter
    assert costs.pretraining_step_flops == 3 * expected
    assert costs.embed_flops == costs.num_patches * encoder


def test_patches_are_as_many_as_the_exported_model_makes(networks):
    from plan_networks import num_patches

    model = EmbeddingModel(
        networks.encoder, networks.log_mel, patch_seconds=networks.views.patch_seconds
    )
    import tensorflow as tf

    for samples in (1000, 32_000, 32_001, 47_999, 48_000, 160_000):
        made = model(tf.zeros([1, samples]))["patch_embedding"].shape[1]
        assert num_patches(networks, samples) == made, samples


def test_a_supervised_share_separates_single_clips():
    from plan_networks import read_networks

    networks = read_networks(SMALL, [*TINY, "SUPERVISED_SHARE=0.5"])
    assert networks.separator_rows == 1 + 2


def test_bytes_of_every_stage(planned):
    clips, states = 1000, 3
    result = planned(f"--clips={clips}", f"--states={states}")
    stages = {row["name"]: row for row in result["stages"]}
    record, channels = 320_000, 4 * 320_000
    assert stages["import"]["disk_bytes"] == clips * record
    assert stages["import"]["bytes_read"] == clips * 1.37e6
    stored = stages["channel storage, 3 states"]
    assert stored["disk_bytes"] == stored["bytes_written"] == states * clips * channels
    assert stored["bytes_read"] == states * clips * record
    # 10 passes in batches of 4, 100 passes in batches of 8.
    assert result["steps"]["SEPARATOR_STEPS"] == 2500
    assert result["steps"]["STEPS"] == 12500
    assert stages["separator training"]["bytes_read"] == 10 * clips * record
    # Two patches of 80 frames and the checksums around them; of 80 frames the energies and
    # checksums of four channels, and a guard.
    patches = 2 * (2 * 32_000 + 8) + 80 * 4 * (2 * 4 + 1)
    assert stages["pretraining"]["bytes_read"] == 100 * clips * patches
    assert stages["pretraining"]["reads"] == 100 * clips * 4
    fly = stages["or pretraining with 3 separators on the fly"]
    assert fly["bytes_read"] == 100 * clips * record
    more = 100 * clips * states * result["costs"]["separate_flops"]
    assert fly["flops"] == pytest.approx(stages["pretraining"]["flops"] + more)
    # Patches of 2 s, one a second: 9 in a clip, and a byte for each class.
    embedded = 9 * 4 * 512 + 527
    assert stages["embedding"]["bytes_written"] == clips * embedded
    assert stages["benchmark"]["bytes_read"] == 20 * clips * embedded
    counted = [row for name, row in stages.items() if not name.startswith("or ")]
    for key in ("flops", "bytes_read", "bytes_written", "disk_bytes"):
        assert result["sum"][key] == pytest.approx(sum(row[key] for row in counted))


def test_taggers_cost_their_seconds_and_their_scores(planned):
    plain, tagged = (
        planned("--clips=1000", "--cores=4", "--accelerators", "1", "16", *more)
        for more in ([], ["--tagging_seconds=0.5", "--scores=8168"])
    )
    assert plain["stages"][0]["name"] == "import"
    first = tagged["stages"][0]
    assert first["name"] == "import with taggers"
    assert first["disk_bytes"] == 1000 * (320_000 + 2 * 8168)
    # Four cores of one host, and of two.
    assert first["hours"] == pytest.approx([1000 * 0.5 / 4 / 3600, 1000 * 0.5 / 8 / 3600])
    assert tagged["stages"][1:] == plain["stages"][1:]


def test_labels_are_learned_from_two_patches_of_each_clip(networks, costs):
    from plan_networks import network_costs, read_networks

    files = [*SMALL, "views/mixture_mixture.gin", "objectives/supervised.gin"]
    labelled = network_costs(read_networks(files, TINY), clip_samples=160_000, num_classes=527)
    patches = 2 * 8
    encoder = costs.embed_flops // costs.num_patches
    expected = patches * (encoder + 2 * 512 * 527 + 198 * 2 * 257 * 64)  # the last is log-mel
    assert labelled.pretraining_step_flops == 3 * expected
    assert labelled.embed_flops == costs.embed_flops


def test_hours_are_those_of_the_slowest_part(planned):
    result = planned(
        "--clips=1000000",
        "--accelerators=1",
        "--accelerator_tflops=10",
        "--utilisation=0.5",
        "--cores=4",
        "--read_megabytes=200",
    )
    rows = {row["name"]: row for row in result["stages"]}
    # 10 clips in half a second on one core.
    assert rows["import"]["hours"][0] == pytest.approx(1e6 / (20 * 4) / 3600)
    assert rows["import"]["bound"] == ["processors"]
    # 9 embeddings a clip, 1000 in a quarter of a second on two threads.
    assert rows["benchmark"]["hours"][0] == pytest.approx(9 * 20e6 / (2000 * 4) / 3600)
    # 200 MB a second from the disk; 5,000 examples in half a second of one of four cores.
    read = rows["pretraining"]["bytes_read"] / 200e6
    assert read > 1e8 / (10_000 * 4)
    # 10 TFLOP/s, of which 20 of 100 are reached here and half of that there.
    products = rows["pretraining"]["flops"] / (10e12 * 0.2 * 0.5)
    assert rows["pretraining"]["hours"][0] == pytest.approx(max(read, products) / 3600)
    # Here: one process, 20 GFLOP/s, and all four cores.
    assert rows["pretraining"]["hours_here"] == pytest.approx(
        max(read, rows["pretraining"]["flops"] / 20e9) / 3600
    )
    assert rows["import"]["hours_here"] == rows["import"]["hours"][0]


def test_twice_the_clips_are_twice_the_work(planned):
    once = planned("--clips=100000")
    twice = planned("--clips=200000")
    for a, b in zip(once["stages"], twice["stages"], strict=True):
        for key in ("flops", "bytes_read", "hours_here"):
            assert b[key] == pytest.approx(2 * a[key]), (a["name"], key)
        assert b["hours"] == pytest.approx([2 * hours for hours in a["hours"]])
        trained = "training" in a["name"]
        assert b["disk_bytes"] == pytest.approx((1 if trained else 2) * a["disk_bytes"])


def test_longer_clips_are_as_much_more_work_where_all_of_a_clip_counts(networks, costs):
    from plan_networks import network_costs

    longer = network_costs(networks, clip_samples=320_000, num_classes=527)
    assert longer.separate_flops == pytest.approx(2 * costs.separate_flops, rel=1e-3)
    assert longer.embed_flops == pytest.approx(2 * costs.embed_flops, rel=0.1)
    # A patch is as long as before, and so is a segment.
    assert longer.pretraining_step_flops == costs.pretraining_step_flops
    assert longer.separator_step_flops == costs.separator_step_flops


def test_a_clip_may_have_one_embedding(planned):
    every, mean = planned("--clips=1000"), planned("--clips=1000", "--mean_embedding")
    of_patches, of_clips = ({r["name"]: r for r in each["stages"]} for each in (every, mean))
    assert of_clips["embedding"]["bytes_written"] == 1000 * (4 * 512 + 527)
    assert of_patches["benchmark"]["flops"] == 9 * of_clips["benchmark"]["flops"]
    assert of_patches["embedding"]["flops"] == of_clips["embedding"]["flops"]


def test_more_accelerators_help_what_they_can_help(networks, costs):
    from plan_stages import Cluster, Rates, Workload, duration, make_stages

    work = Workload(1_000_000, 10.0, 1e6, 527, 10.0, 100.0, 20.0, 1)
    stages = {each.name: each for each in make_stages(work, networks, costs)}
    rates = Rates(
        gemm_gflops=100.0,
        call_gflops=dict.fromkeys(
            ("separator_forward", "separator_step", "pretraining_step", "embed"), 50.0
        ),
        per_core={"import": 20.0, "classifier": 1000.0, "records": 1e9, "patches": 1e9},
        read_megabytes=1e9,
        reads_per_second=1e12,
    )

    def hours(name: str, number: int, **settings) -> float:
        cluster = Cluster(number, 1.0, 1.0, 0.8, per_host=8, cores=10)
        return duration(stages[name], dataclasses.replace(rates, **settings), cluster).hours

    for name in ("separator training", "channel storage, 1 states", "pretraining"):
        assert hours(name, 8) == pytest.approx(hours(name, 1) / (8 * 0.8))
    # The import has as many cores as there are hosts, the benchmark those of one.
    assert hours("import", 8) == hours("import", 1) == pytest.approx(8 * hours("import", 64))
    assert hours("benchmark", 64) == hours("benchmark", 1)
    assert hours("embedding", 64) == hours("embedding", 1)
    # Every host reads its share, whatever reading waits for.
    for slow in (
        {"read_megabytes": 1e-3},
        {"reads_per_second": 1.0},
        {"per_core": {"import": 20.0, "classifier": 1e3, "records": 1e-3, "patches": 1.0}},
    ):
        assert hours("pretraining", 64, **slow) == pytest.approx(
            hours("pretraining", 1, **slow) / 8
        )
    for slow in ({"read_megabytes": 1e-3}, {"per_core": dict.fromkeys(rates.per_core, 1e-3)}):
        for name in ("channel storage, 1 states", "separator training"):
            assert hours(name, 64, **slow) == pytest.approx(hours(name, 1, **slow) / 8)


def test_mixtures_alone_need_no_channels(costs):
    from plan_networks import read_networks
    from plan_stages import Workload, make_stages

    networks = read_networks([*SMALL, "views/mixture_mixture.gin"], TINY)
    work = Workload(1000, 10.0, 1e6, 527, 10.0, 100.0, 20.0, 1)
    names = [stage.name for stage in make_stages(work, networks, costs)]
    assert names == ["import", "pretraining", "embedding", "benchmark"]


def test_the_table_says_what_it_assumes(tmp_path, capsys):
    plan = importlib.import_module("plan")
    assert plan.main(words(tmp_path / "m.json", "--clips=12345")) == 0
    said = capsys.readouterr().out
    assert "12,345 clips of 10 s" in said
    assert "assumed: 100 TFLOP/s" in said
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 7 + 1
    assert len({row.count("|") for row in rows}) == 1


@pytest.mark.parametrize(
    "value, text",
    [(0.0, "0"), (0.0123, "0.012"), (1.26, "1.3"), (12.6, "13"), (1234.5, "1,234")],
)
def test_figures_have_two_digits_or_all_before_the_point(value, text):
    assert importlib.import_module("plan")._number(value) == text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--clips=0"], "--clips: got 0"),
        (["--accelerators", "0"], "--accelerators: got 0"),
        (["--accelerator_tflops=-1"], "--accelerator_tflops: got -1"),
        (["--tagging_seconds=-1"], "--tagging_seconds: got -1"),
        (["--gin_file=nowhere.gin"], "nowhere.gin"),
    ],
)
def test_what_cannot_be_planned_is_told_in_one_line(arguments, message, tmp_path, capsys):
    plan = importlib.import_module("plan")
    assert plan.main(words(tmp_path / "m.json", *arguments)) == 1
    told = capsys.readouterr().err
    assert told.startswith("sepcon: error: ")
    assert message in told
    assert told.count("\n") == 1


def test_a_measurement_that_is_none_is_told(tmp_path, capsys):
    plan = importlib.import_module("plan")
    missing = tmp_path / "none.json"
    arguments = words(missing)
    missing.unlink()
    assert plan.main(arguments) == 1
    assert f"{missing}: no such file; give --measure once" in capsys.readouterr().err
    missing.write_text('{"work": {}}')
    assert plan.main(arguments) == 1
    assert "is not what --measure writes" in capsys.readouterr().err


def test_a_measurement_is_of_this_machine_and_kept(networks, tmp_path, capsys):
    """The whole tool, on tiny networks."""
    plan, path = importlib.import_module("plan"), tmp_path / "measured.json"
    further = ["--measure", "--rounds=1", "--batch=2", "--threads=1", "--json"]
    with warm_python.used():
        assert plan.main(words(path, *further)) == 0
    result, measured = json.loads(capsys.readouterr().out), json.loads(path.read_text())
    assert measured["device"] == "CPU"
    assert set(measured["work"]) == set(MEASURED["work"])
    assert all(0 < value < math.inf for value in measured["seconds"].values())
    assert result["measured"] == measured
    # Two clips separated, and two segments in a step: the work is that of the formula.
    clip, segment = (separator_flops(networks.separator, num_samples=n) for n in (160_000, 8000))
    assert measured["work"]["separator_forward"] == pytest.approx(2e-9 * clip)
    assert measured["work"]["separator_step"] == pytest.approx(3 * 2e-9 * segment)
    assert measured["work"]["import"] == 4


def test_the_shipped_budgets_are_the_planned_ones():
    from plan_networks import read_networks

    networks = read_networks(["scale/audioset.gin"], [])
    assert networks.separator_steps == math.ceil(10 * 2_000_000 / networks.separator_batch)
    steps = math.ceil(100 * 2_000_000 / networks.pretraining_batch)
    assert networks.pretraining["num_steps"] == steps
    # Neither pads: whole repeats of dilations, whole frames.
    assert networks.segment_samples % (128 * networks.separator.hop_samples) == 0
    assert networks.log_mel.num_frames(networks.views.patch_samples) == 96


def _page() -> str:
    text = (REPOSITORY / "tools" / "README.md").read_text()
    return text.split("## AudioSet on real accelerators")[1].split("\n## ")[0]


def _page_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", _page(), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_the_page_has_a_command_for_every_stage_and_kind_of_machine():
    commands = _page_commands()
    verbs = {words[1] for line in commands if (words := line.split())[0] == "sepcon"}
    assert verbs >= {"import", "train_separator", "separate", "pretrain", "embed", "benchmark"}
    for strategy in ("mirrored", "multi_worker", "tpu"):
        assert any(f"--strategy={strategy}" in line for line in commands), strategy


def test_the_commands_of_the_page_are_understood():
    """They cannot run here: flags, gin files and bindings are parsed as the command line does."""
    plan = importlib.import_module("plan")
    for line in _page_commands():
        line = re.sub(r"^(\w+=('[^']*'|\S+) +)+", "", line)
        program, *rest = shlex.split(line)
        if program == "sepcon":
            _understood(*rest)
        elif rest and rest[0] == "tools/plan.py":
            assert program == "python"
            plan._check(plan._parse(rest[1:]))
        else:
            assert program in ("pip", "export", "scp", "gcloud", "tfds"), line


def _understood(verb: str, *flags: str) -> None:
    values = flags_of(VERBS[verb])
    positional = values(["sepcon", *flags])[1:]
    assert not positional or VERBS[verb].positional
    assert "run_dir" in given_arguments(VERBS[verb], values), flags
    if values.gin_file:
        assert read_configuration(verb, values.gin_file, values.gin_bindings).text()
