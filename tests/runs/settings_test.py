"""Configurations as text: settings with their values, and what differs between two."""

from sepcon.runs.settings import Setting, changes, read_settings

TEXT = """\
import somewhere

# Macros:
# ====
STEPS = 300
RATE = 0.001
CLIPS = @train/imported()
NAMES = ['50 %STEPS', "a"]

train.num_steps = %STEPS
train.clips = %CLIPS
train.names = %NAMES
train.optimizer = @own/adam
train.long = \\
    {'a': 1,
     'b': %RATE}
own/adam.rate = @cosine()
cosine.total_steps = %STEPS
imported.path = 'x'
imported.part = 'all'
train/imported.part = 'train'
other.num_steps = %STEPS
"""


def texts(text: str) -> dict[str, str]:
    return {str(name): value for name, value in read_settings(text, "train").values.items()}


def test_settings_are_those_that_the_run_reads_with_macros_resolved():
    assert texts(TEXT) == {
        "train.num_steps": "300",
        "train.clips": "@train/imported()",
        "train.names": "['50 %STEPS', \"a\"]",
        "train.optimizer": "@own/adam",
        "train.long": "{'a': 1, 'b': 0.001}",
        "own/adam.rate": "@cosine()",
        "own/cosine.total_steps": "300",
        "train/imported.path": "'x'",
        "train/imported.part": "'train'",
    }


def test_macros_that_refer_to_each_other_end():
    assert "train.a" in texts("A = %B\nB = %A\ntrain.a = %A\n")


def test_a_later_binding_of_the_same_setting_wins():
    assert texts("train.a = 1\ntrain.a = 2\n") == {"train.a": "2"}


def differences(before: str, now: str, defaults: dict[str, str] | None = None) -> list[str]:
    found = changes(
        read_settings(before, "train"),
        read_settings(now, "train"),
        lambda setting: (defaults or {}).get(str(setting)),
    )
    return [str(each) for each in found]


def test_what_differs_is_told_with_both_values():
    assert differences(TEXT, TEXT.replace("STEPS = 300", "STEPS = 500")) == [
        "own/cosine.total_steps 300, now 500",
        "train.num_steps 300, now 500",
    ]


def test_what_means_the_same_does_not_differ():
    before = "train.a = [1, 'x']\ntrain.b = 0.001\ntrain.c = (2,)\ntrain.d = 'a  b'\n"
    now = 'train.a = (1,"x",)\ntrain.b = 1e-3\ntrain.c = (2.0,)\ntrain.d = "a  b"\n'
    assert differences(before, now) == []
    assert differences(before, now.replace("a  b", "a b")) == ["train.d 'a  b', now \"a b\""]
    assert differences("train.a = '1'\n", "train.a = 1\n") == ["train.a '1', now 1"]


def test_what_only_one_binds_is_compared_with_its_default():
    before, now = "train.b = 1\n", "train.b = 1\ntrain.a = 3\n"
    assert differences(before, now, {"train.a": "3"}) == []
    assert differences(before, now, {"train.a": "None"}) == ["train.a not set, now 3"]
    assert differences(now, before, {"train.a": "None"}) == ["train.a 3, now not set"]
    assert differences(before, now) == []  # a version without this setting wrote the earlier one


def test_what_only_one_calls_is_told_by_what_refers_to_it():
    before = "train.a = @one()\none.size = 1\n"
    now = "train.a = @two()\ntwo.size = 2\n"
    assert differences(before, now) == ["train.a @one(), now @two()"]


def test_a_long_value_is_cut_in_messages():
    found = changes(
        read_settings(f"train.a = '{'x' * 500}'\n", "train"),
        read_settings("train.a = 'y'\n", "train"),
        lambda setting: None,
    )
    assert found[0].setting == Setting("train", "a")
    assert len(str(found[0])) < 120
