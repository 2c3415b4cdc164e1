"""The house stands: which folders there are, who may import whom, and what `import anygpt` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Package → the packages that its files may import besides their own.
ALLOWED_IMPORTS = {
    "anygpt": set[str](),
    "encoders": {"anygpt"},
    "projectors": {"anygpt"},
    "backbone": {"anygpt"},
    "generators": {"anygpt"},
    "pipelines": {"anygpt", "encoders", "projectors", "backbone", "generators"},
}
OTHER_FOLDERS = {"configs", "tests", "benchmarks", "docs", "examples"}
ROOT_FOLDERS = sorted({*ALLOWED_IMPORTS, *OTHER_FOLDERS})

# Hands out the whole public API lazily, so it names the upper floors; what it really loads is tested below.
EXEMPT = {Path("anygpt/__init__.py"), Path("anygpt/__main__.py")}

MAX_LINES, MAX_FUNCTION_LINES = 350, 50
TABLES = {"pipelines/tiny/world/phrases.py"}  # words, which take as many lines as there are

# Wings of `pipelines` → what they may not import. The page shows examples of the world, the command line all of it.
CLOSED = dict.fromkeys(("any_to_any", "assistant", "executors", "stack", "serving", "training"), ("pipelines.tiny",))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every module name that the code imports, at any depth, `import_module("…")` and `if TYPE_CHECKING:` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0]
            if function in ("import_module", "__import__") and isinstance(name, ast.Constant):
                yield str(name.value)


def imports_at_load(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The modules among `known` that are imported when the module itself is: not in functions, not for types alone."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                for name in (f"{node.module}.{alias.name}", node.module):
                    if name in known:
                        yield str(name)
                        break
        waiting += ast.iter_child_nodes(node)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import one another in a circle."""
    found, done = [], set[str]()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for other in sorted(graph[module]):
                visit(other, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def floor_violations(package: str, source: str) -> list[str]:
    """The imports in one file of a package that the house forbids; relative ones are forbidden altogether."""
    forbidden = set(ROOT_FOLDERS) - {package} - ALLOWED_IMPORTS[package]
    return [
        module
        for module in imported_modules(ast.parse(source))
        if module.startswith(".") or module.partition(".")[0] in forbidden
    ]


def modules_loaded_by(statement: str) -> set[str]:
    """Top-level names in `sys.modules` of a fresh Python after one statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return set(completed.stdout.split())


@pytest.mark.parametrize("folder", ROOT_FOLDERS)
def test_root_folder_exists(folder: str) -> None:
    assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("package", ALLOWED_IMPORTS)
def test_package_imports_only_lower_floors(package: str) -> None:
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if path.relative_to(ROOT) not in EXEMPT]
    assert paths, f"{package}/ holds no Python file"
    violations = {
        str(path.relative_to(ROOT)): found
        for path in paths
        if (found := floor_violations(package, path.read_text(encoding="utf-8")))
    }
    assert not violations


@pytest.mark.parametrize(
    ("package", "source", "expected"),
    [
        ("encoders", "from generators.contract import Generator", ["generators.contract"]),
        ("encoders", "import anygpt.errors, pipelines.cli.main", ["pipelines.cli.main"]),
        ("anygpt", "def load():\n    from encoders import ENCODERS", ["encoders"]),
        ("anygpt", "import importlib\nimportlib.import_module('pipelines.cli.main')", ["pipelines.cli.main"]),
        ("projectors", "from .contract import InputProjector", [".contract"]),
        ("pipelines", "from tests.anygpt import images", ["tests.anygpt"]),
        ("pipelines", "import torch\nfrom encoders import ENCODERS\nfrom pipelines.cli.main import main", []),
    ],
)
def test_floor_violations_finds_what_is_forbidden(package: str, source: str, expected: list[str]) -> None:
    assert floor_violations(package, source) == expected


def test_import_anygpt_loads_no_torch_and_no_upper_floor() -> None:
    loaded = modules_loaded_by("import anygpt")
    assert "anygpt" in loaded
    unwanted = {"torch", "transformers", "diffusers", "peft", *ALLOWED_IMPORTS} - {"anygpt"}
    assert not loaded & unwanted


def test_configs_holds_values_only() -> None:
    files = [path for path in (ROOT / "configs").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert not [str(path.relative_to(ROOT)) for path in files if path.suffix != ".yaml"]


def modules() -> dict[str, Path]:
    """Every module of the house by its name."""
    files = [path for package in ALLOWED_IMPORTS for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def test_no_modules_import_one_another_in_a_circle() -> None:
    files = modules()
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
    graph = {name: set(imports_at_load(tree, set(files))) - {name} for name, tree in trees.items()}
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c", "a"]]


@pytest.mark.parametrize("wing", CLOSED)
def test_the_tiny_wing_is_known_to_the_command_line_and_training_alone(wing: str) -> None:
    for name, path in modules().items():
        if name.startswith(f"pipelines.{wing}"):
            imported = list(imported_modules(ast.parse(path.read_text(encoding="utf-8"))))
            assert not [module for module in imported if module.startswith(CLOSED[wing])], name


def test_files_and_functions_are_short() -> None:
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        if path.relative_to(ROOT).as_posix() not in TABLES:
            assert len(text.splitlines()) <= MAX_LINES, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{name}.{node.name}"
