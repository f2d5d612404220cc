"""The structure that ARCHITECTURE.md draws: what may import what, what is packaged, what is public."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import streamad

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "streamad", ROOT / "connectors" / "streamad_connectors")
MODULES = {
    ".".join(path.relative_to(folder.parent).with_suffix("").parts): path
    for folder in FOLDERS
    for path in sorted(folder.rglob("*.py"))
}

LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("bench",),
    ("wiring",),
    ("job",),
    ("runtime",),
    ("learning",),
    ("estimators",),
    ("training",),
    ("scoring",),
    ("state",),
    ("models",),
    ("features",),
    ("config",),
    ("options",),
    ("ports",),
    ("records",),
    ("seldom",),
    ("errors", "streamad"),
)
"""Each imports only from layers below its own. `options` are the files of that name in all packages: the config's
sections, which config.py assembles; they count as one layer, since each is a part of the config."""

ALLOWED_TO_TORCH = {
    "models",
    "training",
    "estimators",
    "scoring",
    "state",
    "learning",
    "runtime",
    "wiring",
    "commands",
    "bench",
}

IMPURE = {
    "streamad.training.trainer": {"time.monotonic"},
    "streamad.training.process": {"time.monotonic"},
    "streamad.state.directory": {"time.sleep"},
    "streamad.records.compiled": {"os.environ", "os.environ.get", "os.getuid"},
    "streamad.records.dictionary": {"os.urandom"},
    "streamad.config": {"os.environ.get", "os.environ"},
}
"""Below runtime/, what reads the world all the same: the trainer's parent and child measure how long it takes (the
result is no function of it), a lock is tried again after a moment, numba's cache is sought where the user keeps such
things, hashes are seeded per process (they order nothing that is kept), the config's secrets come as ${ENV}."""

WORLD = re.compile(
    r"time\.\w+|os\.(environ|getenv|urandom|getuid|getlogin|environb)\b.*|(datetime|date)\.(now|today|utcnow)"
    r"|(np|numpy)\.random\.(?!default_rng$|Generator$|SeedSequence$|PCG64$|Philox$)\w+"
    r"|torch\.(seed|manual_seed|initial_seed)"
)


@functools.cache
def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@functools.cache
def imports(module):
    """The modules that a module names in its imports, those for types only included."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


def unit(module):
    """What a module of streamad counts as in LAYERS."""
    parts = module.removesuffix(".__init__").split(".")
    if parts[-1] == "options":
        return "options"
    return parts[1] if len(parts) > 1 else parts[0]


def layer(module):
    return next(number for number, units in enumerate(LAYERS) if unit(module) in units)


def users_of(package):
    return {module for module in MODULES if any(name.split(".")[0] == package for name in imports(module))}


def units_of(modules):
    return {unit(module) if module.startswith("streamad.") else "connectors" for module in modules}


def test_every_part_of_streamad_has_its_layer():
    parts = {unit(module) for module in MODULES if module.split(".")[0] == "streamad"}
    assert parts == {part for units in LAYERS for part in units}


def test_imports_point_down_so_that_no_two_packages_need_each_other():
    # streamad itself names the estimators for type checkers; what it imports is tested below
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module)
        if module.split(".")[0] == name.split(".")[0] == "streamad"
        and module != "streamad.__init__"
        and unit(module) != unit(name)
        and layer(name) <= layer(module)
    ]
    assert wrong == []


def test_streamad_meets_the_connectors_only_through_entry_points_and_only_in_wiring():
    assert {m for m in users_of("streamad_connectors") if m.startswith("streamad.")} == set()
    assert {m for m in MODULES if "importlib.metadata" in imports(m)} == {"streamad.wiring.plugins"}
    seen = {
        unit(name)
        for m in MODULES
        if m.startswith("streamad_connectors")
        for name in imports(m)
        if name.startswith("streamad.")
    }
    assert seen == {"ports", "records", "errors", "seldom"}


def test_heavy_and_optional_libraries_stay_where_they_belong():
    assert units_of(users_of("numba")) <= {"records", "features"}
    assert units_of(users_of("river") - {"streamad.estimators.river"}) <= {"learning", "bench"}
    assert units_of(users_of("confluent_kafka")) <= {"connectors"}
    assert units_of(users_of("torch")) <= ALLOWED_TO_TORCH
    assert {m for m in MODULES if {"pickle", "marshal", "shelve", "joblib", "dill"} & imports(m)} == set()


def test_reading_and_configuring_import_no_torch():
    light = [
        m
        for m in MODULES
        if m.startswith("streamad.") and unit(m) in {"records", "features", "config", "cli", "options"}
    ]
    light = [m.removesuffix(".__init__") for m in light]
    code = f"import sys, {', '.join(light)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_below_runtime_nobody_reads_clock_environment_or_global_random_state():
    below = {m for m in MODULES if m.startswith("streamad.") and layer(m) > layer("streamad.runtime")}
    found = {m: touched for m in below if (touched := world_of(m))}
    assert found == IMPURE


def world_of(module):
    """The dotted names of a module that read the world."""
    names = {
        alias
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in (f"time.{a.name}" for a in node.names)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and WORLD.fullmatch(dotted := ast.unparse(node)):
            names.add(dotted)
    return names | {name for name in imports(module) if name in {"random", "secrets", "uuid"}}


def test_no_file_is_much_above_three_hundred_lines():
    lengths = {m: len(path.read_text(encoding="utf-8").splitlines()) for m, path in MODULES.items()}
    assert {m: n for m, n in lengths.items() if n > 310} == {}


def test_what_is_public_is_this():
    estimators = {
        "AE",
        "AESAD",
        "DAE",
        "DPVAE",
        "MMLDPVAE",
        "MMLVAE",
        "UAI",
        "VAE",
        "Auto",
        "DeepSAD",
        "DeepSVDD",
        "Supervised",
    }
    assert set(streamad.__all__) == estimators | {"TrainingError", "UserError", "__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", streamad.__version__)
    assert {getattr(streamad, name).__name__ for name in estimators} == estimators
    assert not hasattr(streamad, "Everything")


def test_streamad_alone_imports_none_of_its_parts_and_no_torch():
    code = "import sys, streamad; print([m for m in sys.modules if m.startswith(('streamad.', 'torch', 'sklearn'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_is_said():
    done = subprocess.run(
        [sys.executable, "-m", "streamad", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"streamad {streamad.__version__}\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in the wheel, built offline."""
    from hatchling.builders.wheel import WheelBuilder  # noqa: PLC0415  # takes a moment, and only this test needs it

    (path,) = WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_exactly_the_two_packages(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"streamad", "streamad_connectors", f"streamad-{streamad.__version__}.dist-info"}
    assert {name for name in wheel if name.endswith(".py")} == {
        str(path.relative_to(folder.parent)) for folder in FOLDERS for path in folder.rglob("*.py")
    }
    assert {name.rpartition("/")[2] for name in wheel if ".dist-info/" in name} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "LICENSE",
    }


def test_every_entry_point_can_be_loaded_and_every_declared_one_is_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    for group in ("streamad.sources", "streamad.sinks"):
        installed = {entry.name: entry for entry in entry_points(group=group)}
        assert {name: entry.value for name, entry in installed.items()} == declared[group]
        assert all(entry.load().options for entry in installed.values())


def test_the_folders_at_the_top_are_those_of_the_design():
    known = {".ci", "configs", "connectors", "deploy", "streamad", "tests"}
    files = {"LICENSE", "Makefile", "README.md", "pyproject.toml", ".gitignore"}
    assert {path.split("/")[0] for path in tracked()} == known | files


def test_no_file_names_a_place_of_the_machine_that_it_was_written_on():
    places = re.compile(rb"(?<![\w./])/(work|root|home)/\w")
    assert [path for path in tracked() if places.search((ROOT / path).read_bytes())] == []


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for path in done.stdout.split("\0") if path and (ROOT / path).exists()]
