"""What README.md shows of the library is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from streamad.estimators import auto, shallow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_library_run_and_find_what_they_are_to_find(tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(auto, "_EPOCHS", 10)
    monkeypatch.setattr(shallow, "_TREES", 50)
    names = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
        assert sorted(names["scores"].argsort()[-10:]) == list(range(10))
    found, near, far = re.fullmatch(
        r"(\d+) of 10 found, \[.*\]\n([\d.]+) ([\d.]+)\n", capsys.readouterr().out, re.DOTALL
    ).groups()
    assert int(found) >= 9
    assert float(far) > float(near)
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["Auto", "UAI", "DeepSAD", "RiverDetector"])
def test_every_kind_of_estimator_is_shown(name):
    assert any(re.search(rf"\b{name}\(", block) for block in BLOCKS)
