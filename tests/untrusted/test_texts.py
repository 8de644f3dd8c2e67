"""Is JSON and YAML of a stranger refused in one line, whatever it holds?"""

import pytest

from spikeproof.untrusted.settings import MOST, yaml_in
from spikeproof.untrusted.texts import DEPTH, Unreadable, json_in, json_lines_in, text_of

BILLION = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(DEPTH + 2), "nested"),
        (nested(100_000), "nested"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested"),
        ("9" * 6000, "6,000 digits"),
        ("1e999", "no finite number"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "no finite number"),
        (r'{"name": "\ud800"}', "lone surrogate"),
        (r'{"\udfff": 1}', "lone surrogate"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        (str(1 << 64), "64 bits"),
        ("{", "no JSON"),
    ],
)
def test_json_within_limits(text, said):
    with pytest.raises(Unreadable, match=said) as caught:
        json_in(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(DEPTH + 2), "nested"),
        (nested(5000), "nested"),
        ("a: " + "9" * 6000, "not of its tag"),
        ("a: 0x" + "f" * 100, "64 bits"),
        ('a: !!int "x"', "not of its tag"),
        ('a: !!int ""', "not of its tag"),
        ('a: !!float "x"', "not of its tag"),
        ('a: !!bool "x"', "not of its tag"),
        ('a: !!timestamp "x"', "not of its tag"),
        ("a: !!python/object/apply:os.system [ls]", "no YAML"),
        ("? [1]\n: 2", "no YAML"),
        ('a: "\\ud800"', "lone surrogate"),
        ("a: &a [*a]", "nested"),
        (BILLION, "values"),
        ("a" * (MOST + 1), "letters"),
    ],
)
def test_yaml_within_limits(text, said):
    with pytest.raises(Unreadable, match=said) as caught:
        yaml_in(text)
    assert "\n" not in str(caught.value)


def test_what_is_allowed_is_read():
    assert json_in(nested(DEPTH)) is not None
    assert json_in('{"a": [1, 2.5, null, "\\u00fc"], "b": 18446744073709551615}') == {
        "a": [1, 2.5, None, "ü"],
        "b": (1 << 64) - 1,
    }
    assert yaml_in("a: 1e-3\nb: [x, 2]\nc: &c {d: 1}\ne: *c") == {
        "a": 1e-3,
        "b": ["x", 2],
        "c": {"d": 1},
        "e": {"d": 1},
    }


def test_a_line_is_named_and_a_long_file_is_not_read(tmp_path):
    with pytest.raises(Unreadable, match="in line 2 holds"):
        json_lines_in('{"a": 1}\n[NaN]\n')
    (tmp_path / "long").write_bytes(b" " * 1001)
    with pytest.raises(Unreadable, match="more than 1,000 bytes"):
        text_of(tmp_path / "long", 1000)
    (tmp_path / "odd").write_bytes(b"a\xff")
    with pytest.raises(Unreadable, match="byte 1"):
        text_of(tmp_path / "odd")
