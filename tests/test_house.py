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
