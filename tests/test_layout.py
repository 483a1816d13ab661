"""The house's plan: rooms from the ground floor up; a room imports rooms above it in this list, never one below."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# room: what of ours its files may import. A station's own name stands for its commands and flags.
MAY_IMPORT = {
    "kosplinter_common": "",
    "kosplinter_common.records": "kosplinter_common",
    "data_gen.corpora": "kosplinter_common",
    "data_gen.spans": "kosplinter_common data_gen.corpora",
    "data_gen.storage": "kosplinter_common data_gen.spans",
    "data_gen.passages": "kosplinter_common kosplinter_common.records data_gen.spans data_gen.storage",
    "data_gen.runs": "kosplinter_common kosplinter_common.records "
    "data_gen.corpora data_gen.spans data_gen.storage data_gen.passages",
    "data_gen.beam": "kosplinter_common kosplinter_common.records "
    "data_gen.corpora data_gen.spans data_gen.storage data_gen.passages data_gen.runs",
    "data_gen.inspection": "kosplinter_common kosplinter_common.records data_gen.storage data_gen.passages",
    "data_gen": "kosplinter_common kosplinter_common.records "
    "data_gen.corpora data_gen.spans data_gen.passages data_gen.runs data_gen.beam data_gen.inspection",
    "vocab": "kosplinter_common data_gen.corpora",
    "pretraining.settings": "kosplinter_common kosplinter_common.records",
    "pretraining.model": "kosplinter_common kosplinter_common.records",
    "pretraining.input": "kosplinter_common kosplinter_common.records pretraining.model",
    "pretraining.training": "kosplinter_common kosplinter_common.records "
    "pretraining.settings pretraining.model pretraining.input",
    "pretraining.tpu": "kosplinter_common kosplinter_common.records pretraining.model pretraining.training",
    "pretraining": "kosplinter_common kosplinter_common.records "
    "pretraining.settings pretraining.model pretraining.training pretraining.tpu",
    "finetuning.modeling": "",
    "finetuning.cards": "",
    "finetuning.qa": "kosplinter_common finetuning.modeling finetuning.cards",
    "finetuning.study": "kosplinter_common finetuning.qa",
    "finetuning.conversion": "kosplinter_common kosplinter_common.records pretraining.model finetuning.modeling "
    "finetuning.cards",
    "finetuning": "kosplinter_common finetuning.qa finetuning.study finetuning.conversion",
    "kosplinter.calibration": "kosplinter_common finetuning.qa",
    "kosplinter.engine": "kosplinter_common finetuning.qa kosplinter.calibration",
    "kosplinter.export": "kosplinter_common finetuning.qa kosplinter.calibration kosplinter.engine",
    "kosplinter.answering": "kosplinter_common finetuning finetuning.qa "
    "kosplinter.calibration kosplinter.engine kosplinter.export",
    "kosplinter.serving": "kosplinter_common kosplinter.engine kosplinter.answering",
    "kosplinter.commands": "kosplinter_common finetuning.qa kosplinter.engine kosplinter.answering kosplinter.serving",
    "kosplinter": "kosplinter_common kosplinter.engine kosplinter.answering kosplinter.commands",
}
ROOMS = {room: set(may.split()) for room, may in MAY_IMPORT.items()}
STATIONS = {room.split(".")[0] for room in ROOMS}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for station in sorted(STATIONS)
    for path in sorted((ROOT / station).rglob("*.py"))
}
# Rooms, or single files, in which a framework may be imported, at whatever depth of a function.
WITH_TENSORFLOW = ("pretraining", "finetuning.conversion", "finetuning.convert_")
WITH_TORCH = ("finetuning", "kosplinter.engine.torch_model", "kosplinter.export")


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a file imports, at whatever depth; `from a import b` counts as a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(name: str) -> str:
    """The longest room that a dotted name lies in."""
    parts = name.split(".")
    return next(room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in ROOMS)


def test_the_plan_has_no_circle() -> None:
    above: set[str] = set()
    for room, may_import in ROOMS.items():
        assert may_import <= above, f"{room} imports what the plan lists below it: {may_import - above}"
        above.add(room)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    room = room_of(module)
    ours = {name for name in imports_of(MODULES[module]) if name.split(".")[0] in STATIONS}
    assert {room_of(name) for name in ours} - {room} <= ROOMS[room]


def test_commands_do_not_import_commands() -> None:
    commands = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in entry_points()}
    for command in commands:
        names = imports_of(MODULES[command])
        assert not {other for other in commands if any(n == other or n.startswith(other + ".") for n in names)}, command


@pytest.mark.parametrize(("framework", "rooms"), [("tensorflow", WITH_TENSORFLOW), ("torch", WITH_TORCH)])
def test_frameworks_stay_in_their_rooms(framework: str, rooms: tuple[str, ...]) -> None:
    for module, path in MODULES.items():
        if any(name.split(".")[0] == framework for name in imports_of(path)):
            assert module.startswith(rooms), f"{module} imports {framework}"


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room.count(".") == 1 and (ROOT / room.replace(".", "/")).is_dir()]
)
def test_every_room_says_what_one_finds_in_it(room: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")))
    assert text and "\n" not in text


@pytest.mark.parametrize("station", sorted(STATIONS - {"kosplinter_common"}))
def test_the_top_of_a_station_is_commands_and_what_they_share(station: str) -> None:
    shared = {"__init__", "flags", "settings", "modeling"}
    commands = {path.stem for path in entry_points() if path.parent == ROOT / station}
    assert {path.stem for path in (ROOT / station).glob("*.py")} <= commands | shared


def test_every_module_can_be_imported_alone() -> None:
    """Each in a fresh state of our own modules; what they import from elsewhere is loaded once, to save time."""
    code = """
import importlib, sys
for module in sys.argv[2:]:
    for name in [name for name in sys.modules if name.split(".")[0] in sys.argv[1].split(",")]:
        del sys.modules[name]
    if "absl.flags" in sys.modules:
        flags = sys.modules["absl.flags"].FLAGS
        for flag in [flag for flag in flags if flags.find_module_defining_flag(flag).split(".")[0] != "absl"]:
            delattr(flags, flag)
    importlib.import_module(module)
"""
    command = [sys.executable, "-c", code, ",".join(STATIONS), *MODULES]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("data_gen.create_pretraining_data", ("tensorflow", "torch")),
        ("finetuning.run_qa", ("tensorflow",)),
        ("finetuning.evaluate", ("tensorflow", "torch")),
        ("kosplinter", ("tensorflow", "numba", "torch", "transformers", "matplotlib")),
        ("kosplinter.answering.fitting", ("tensorflow", "numba")),
        ("kosplinter.export.runtime", ("tensorflow", "torch", "transformers")),
        ("finetuning.modeling", ("tensorflow", "data_gen", "kosplinter_common")),
        ("pretraining.run_pretraining", ("googleapiclient", "cloud_tpu_client")),
    ],
)
def test_importing_a_module_leaves_frameworks_alone(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; sys.exit(str([m for m in {absent!r} if m in sys.modules] or '') or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def entry_points() -> list[Path]:
    return [path for path in MODULES.values() if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", entry_points(), ids=lambda path: path.name)
def test_entry_points_run_as_files_and_as_modules(path: Path, tmp_path: Path) -> None:
    """--help works in both forms, as a file from another folder too."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for command, folder in (([str(path)], tmp_path), (["-m", module], ROOT)):
        result = subprocess.run([sys.executable, *command, "--help"], cwd=folder, capture_output=True, text=True)
        # absl ends --help with status 1, argparse with 0
        assert result.returncode in (0, 1) and "--" in result.stdout and "Traceback" not in result.stderr, result.stderr
