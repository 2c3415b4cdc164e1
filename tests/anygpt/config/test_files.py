from __future__ import annotations

from pathlib import Path

import pytest

from anygpt.config.files import find_config, read_values
from anygpt.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.yaml"
    path.write_text("name: x\nlimits: {max_media: 3}\nadapters: y\n", encoding="utf-8")
    return path


def test_overrides_replace_values_in_order(file):
    values = read_values(file, ["limits.max_media=4", "limits.timeout_s=2.5", "limits.max_media=5", "a.b.c=[1, two]"])
    assert values["limits"] == {"max_media": 5, "timeout_s": 2.5}
    assert values["a"] == {"b": {"c": [1, "two"]}}
    assert read_values(file, ["name=y", "adapters="]) == {"name": "y", "limits": {"max_media": 3}, "adapters": None}


@pytest.mark.parametrize("override", ["", "name", "=5", " =5", "limits", "5"])
def test_overrides_need_a_key_and_a_value(file, override):
    with pytest.raises(ConfigError, match=f"override: '{override}' given, expected key.path=value"):
        read_values(file, [override])


@pytest.mark.parametrize("override", ["name={", "name=[", "name=a: b: c", "name='", "limits[=1", "name=\x01", "a..b=1"])
def test_overrides_that_cannot_be_read_are_one_line(file, override):
    try:
        read_values(file, [override])
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert "override" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"a: [",
        b"a: b: c",
        b"\x00",
        b"\ta: 1",
        b"a: 1\na: 2",
        b"!!python/object/apply:os.system [ls]",
        b"a: &a [*a]",
        b"a" + b" " * 1_000_001,
        b"[" * 5000,
    ],
    ids=str,
)
def test_files_that_are_no_yaml_are_one_line(tmp_path, content):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config: .*x\.yaml is not readable YAML: ") as caught:
        read_values(tmp_path / "x.yaml")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["[1, 2]", "- a: 1"])
def test_files_without_keys_are_refused(tmp_path, content):
    (tmp_path / "x.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no keys, expected a mapping"):
        read_values(tmp_path / "x.yaml")


@pytest.mark.parametrize("name", ["nonsense", "", "../pyproject", "/etc/passwd", "x" * 5000, "a\0b", "training"])
def test_unknown_configs_list_the_names_there_are(name):
    with pytest.raises(ConfigError, match=r"config: no config is called '.*'; there are: .*tiny"):
        find_config(name)


@pytest.mark.parametrize("name", ["missing.yaml", "missing.yml", "x" * 5000 + ".yaml"])
def test_missing_files_are_refused(name):
    with pytest.raises(ConfigError, match=r"config: no file '.*'; give a YAML file or one of: .*tiny"):
        find_config(name)


def test_a_folder_stands_for_its_config(tmp_path):
    with pytest.raises(ConfigError, match=r"config: no config\.yaml in folder"):
        find_config(tmp_path)
    (tmp_path / "config.yaml").write_text("name: x", encoding="utf-8")
    assert find_config(tmp_path) == tmp_path / "config.yaml"


def test_a_config_extends_another_and_another_part_takes_the_whole_section(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\na: {name: x, size: 1, deep: {b: 1, c: 2}}\nd: {e: 1}\n", "utf-8")
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: {tmp_path / 'base.yaml'}\nname: child\na: {{size: 2, deep: {{c: 3}}}}\n", "utf-8")
    same_part = {"name": "x", "size": 2, "deep": {"b": 1, "c": 3}}
    assert read_values(child) == {"name": "child", "a": same_part, "d": {"e": 1}}
    child.write_text(f"extends: {tmp_path / 'base.yaml'}\na: {{name: y}}\nd: [1]\n", "utf-8")
    assert read_values(child, ["f=1"]) == {"name": "base", "a": {"name": "y"}, "d": [1], "f": 1}
    (tmp_path / "mine.yaml").write_text("extends: tiny\nname: mine\n", "utf-8")
    assert read_values(tmp_path / "mine.yaml") == {**read_values("tiny"), "name": "mine"}


def test_a_config_that_extends_itself_or_nothing_is_refused(tmp_path):
    file = tmp_path / "circle.yaml"
    file.write_text(f"extends: {file}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"circle\.yaml extends .*circle\.yaml; expected no circle"):
        read_values(file)
    other = tmp_path / "other.yaml"
    other.write_text(f"extends: {file}\n", "utf-8")
    file.write_text(f"extends: {other}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"circle\.yaml extends .*other\.yaml extends .*circle\.yaml; expected no"):
        read_values(file)
    for depth in range(10):
        (tmp_path / f"{depth}.yaml").write_text(f"extends: {tmp_path / str(depth + 1)}.yaml\n", "utf-8")
    with pytest.raises(ConfigError, match=r"0\.yaml: extends goes deeper than 8 files; write some as one"):
        read_values(tmp_path / "0.yaml")
    file.write_text("extends: nothing-of-the-kind\n", "utf-8")
    with pytest.raises(ConfigError, match="nothing-of-the-kind"):
        read_values(file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            "trust_remote_code: true",
            "trust_remote_code: no config decides this; give --trust-remote-code on the command",
        ),
        ("allow_outside: true", "allow_outside: no config decides this; give --allow-outside on the command line"),
        ("backbone: {trust_remote_code: false}", "backbone.trust_remote_code: no config decides this"),
        ("a: [{b: {trust_remote_code: 1}}]", "a.0.b.trust_remote_code: no config decides this"),
    ],
)
def test_what_only_the_user_decides_is_refused_in_files_wherever_it_stands(tmp_path, values, message):
    file = tmp_path / "x.yaml"
    file.write_text(values, "utf-8")
    extending = tmp_path / "y.yaml"
    extending.write_text(f"extends: {file}\n", "utf-8")
    for path in (file, extending):
        with pytest.raises(ConfigError) as caught:
            read_values(path)
        assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("=True in Python")


def test_overrides_do_not_decide_what_only_the_user_decides(tmp_path):
    with pytest.raises(ConfigError, match=r"backbone\.trust_remote_code: no config decides this; give --trust-remote"):
        read_values("tiny", ["backbone.trust_remote_code=true"])


def test_sections_in_overrides_change_single_keys(file):
    assert read_values(file, ["limits={timeout_s: 2}"])["limits"] == {"max_media": 3, "timeout_s": 2}
    assert read_values(file, ["limits=null", "limits.timeout_s=2"])["limits"] == {"timeout_s": 2}
    assert read_values(file, over={"limits": {"max_media": 9}, "name": "z"})["limits"] == {"max_media": 9}


@pytest.mark.parametrize("value", ["2024", "true", "1.5", "[tiny]"])
def test_extends_that_is_no_text_is_refused(tmp_path, monkeypatch, value):
    """A folder called 2024 beside the user must not be read in place of a name."""
    monkeypatch.chdir(tmp_path)
    Path("2024").mkdir()
    Path("2024/config.yaml").write_text("extends: tiny", encoding="utf-8")
    Path("own.yaml").write_text(f"extends: {value}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"extends: .* given, expected a name or file; quote it"):
        read_values("own.yaml")
