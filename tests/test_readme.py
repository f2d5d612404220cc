"""README.md and ARCHITECTURE.md say what is so."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
from detectors_help import DETECTORS

from streamad.cli import parser
from streamad.config import load_config
from streamad.models.base import find_detector
from streamad.records import template
from streamad.runtime.committer import Committer
from streamad.state.store import Store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "streamad" / "ARCHITECTURE.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def steps(text):
    """The lines of a numbered list."""
    return re.findall(r"^ *\d\. .*$", text, re.MULTILINE)


def test_the_config_in_the_readme_is_one(tmp_path):
    (text,) = blocks("yaml")
    (tmp_path / "feed.yaml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "feed.yaml")
    assert (config.feed, config.alerts.budget, config.schema_.key) == ("conn", "20/h", "uid")
    assert set(config.model_dump(by_alias=True)) == set(re.findall(r"^(\w+):", text, re.MULTILINE))


@pytest.mark.parametrize("text", [*blocks("yaml"), template._REST])
def test_a_config_names_every_detector_that_a_feed_can_have(text):
    (section,) = re.findall(r"^detector:.*\n(?:[ ].*\n)*", text, re.MULTILINE)
    for name in DETECTORS:
        assert bool(re.search(rf"\b{name}\b", section)) == find_detector(name).FEEDS


def test_the_examples_of_the_formats_have_the_keys_of_the_golden_files():
    golden = ROOT / "tests" / "golden" / "formats_1"
    alert, label, rejected = (json.loads(text) for text in blocks("json"))
    assert list(alert) == list(json.loads((golden / "alert.json").read_text(encoding="utf-8")))
    assert (
        label.keys()
        <= json.loads((golden / "labels.ndjson").read_text(encoding="utf-8").splitlines()[0]).keys()
    )
    assert rejected.keys() <= json.loads((golden / "rejected.json").read_text(encoding="utf-8")).keys()


def test_the_commands_in_the_readme_are_those_that_there_are():
    (commands,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    table = README[README.index("## Commands") : README.index("Results go to stdout")]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)", first_cells)) == set(commands.choices)


def test_the_order_of_a_commit_is_told_as_the_code_has_it():
    told = steps(
        ARCHITECTURE[
            ARCHITECTURE.index("### The order of a commit") : ARCHITECTURE.index("Both tell each step")
        ]
    )
    assert told == [line.strip() for line in steps(Committer.commit.__doc__) + steps(Store.commit.__doc__)]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\btest_(?:[a-z]+_?)+\b", ARCHITECTURE))))
def test_every_test_that_the_table_of_threats_names_is_there(name):
    if (ROOT / "tests" / f"{name}.py").exists():
        return
    files = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert any(f"def {name}" in text for text in files)
