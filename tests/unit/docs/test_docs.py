"""The tables of options in the roles' README files are those of the argument specs, the checks those of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


@pytest.fixture(name="docs", scope="module")
def load_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tests" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_readme_has_the_table_of_its_spec(docs: ModuleType, role: Path) -> None:
    readme = role / "README.md"
    assert readme.exists(), "every role has a README.md"
    assert docs.render(role) == readme.read_text(), "run make docs"


def test_reference_of_the_checks(docs: ModuleType) -> None:
    text = docs.CHECKS.read_text()
    assert docs.render_checks() == text, "run make docs"
    assert "\n## certificate\n\nThe certificate of an address is trusted," in text
    assert "| `days` | int | `14` | Days that it has to last at least. |" in text


def test_table(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "argument_specs.yml").write_text("""
argument_specs:
  main:
    options:
      web_port: {type: int, default: 80, description: [Port., "Ignored with O(web_socket)."]}
      web_user: {description: Who., required: true}
      web_root: {type: path, description: a|b}
      web_sites:
        type: list
        elements: dict
        default: []
        description: Sites.
        options:
          name: {required: true, description: Name., choices: [a, b]}
""")
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults" / "main.yml").write_text("web_root: '{{ x }}'\n")
    (tmp_path / "README.md").write_text("top\n<!-- options -->\nold\n<!-- /options -->\nend\n")
    assert docs.render(tmp_path) == (
        "top\n<!-- options -->\n\n"
        "| Variable | Type | Default | Meaning |\n|---|---|---|---|\n"
        "| `web_port` | int | `80` | Port. Ignored with `web_socket`. |\n"
        "| `web_user` | str | required | Who. |\n"
        "| `web_root` | path | computed | a\\|b |\n"
        "| `web_sites` | list of dict | `[]` | Sites. |\n"
        "| `web_sites[].name` | str | required | Name. One of `a`, `b`. |\n"
        "\n<!-- /options -->\nend\n"
    )


def test_entry_point_that_takes_more_than_the_first_has_only_what_it_adds(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "argument_specs.yml").write_text("""
argument_specs:
  main:
    options: &options
      web_port: {type: int, default: 80, description: "As O(slipway.laravel.release#module:expect)."}
  place:
    options: *options
  sign:
    options:
      <<: *options
      release: {required: true, description: Which.}
  other:
    options:
      web_user: {description: Who.}
""")
    (tmp_path / "README.md").write_text("<!-- options -->\n<!-- /options -->\n")
    head = "| Variable | Type | Default | Meaning |\n|---|---|---|---|\n"
    assert docs.render(tmp_path) == (
        "<!-- options -->\n\n"
        "Entry point `main`, `place`:\n\n"
        f"{head}| `web_port` | int | `80` | As `expect` of the module `slipway.laravel.release`. |\n\n"
        "Entry point `sign` takes those of `main` as well, and:\n\n"
        f"{head}| `release` | str | required | Which. |\n\n"
        "Entry point `other`:\n\n"
        f"{head}| `web_user` | str |  | Who. |\n\n"
        "<!-- /options -->\n"
    )
