"""What a first line is instead of a header is said by name, and never by the values that stand in it."""

import pytest

from workflow.header_mistakes import foreign_format, header_mistake, lacking_columns


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"PAR1\x00", "Parquet"),
        (b"PK\x03\x04", "zip archive (or an Excel workbook)"),
        (b"\xff\xfea\x00", "UTF-16"),
        ("a,b\n".encode("utf-16-be"), "UTF-16"),
        (b"a\x00b", "NUL"),
        (bytes(100), "NUL"),
        (b"\x80\x04\x95", "pickle"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)
def test_foreign_formats_are_named(data, what):
    mistake = foreign_format(data)
    assert mistake
    assert what in mistake.what


def test_a_column_may_be_called_like_a_format():
    assert foreign_format(b"ORC,PAR1\n1,2\n") is None


SECRETS = ("secret", "31.5")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a;b"], "is not separated by commas: its fields are separated by ';'"),
        (["31;b", "5;a"], "is not separated by commas: its fields are separated by ';'"),  # decimal commas
        (["a\tb"], "is not separated by commas: its fields are separated by tabs"),
        (["id|a|b"], "is not separated by commas: its fields are separated by '|'"),
        (["a^b"], "is not separated by commas: its fields are separated by '^'"),
        (["a~b"], "is not separated by commas: its fields are separated by '~'"),
        (["id:a"], "is not separated by commas: its fields are separated by ':'"),
        (["a\x01b"], "is not separated by commas: its fields are separated by U+0001, as Hive writes"),
        ([""], "begins with a line that names nothing, and not with its header"),
        (["", " ", ""], "begins with a line that names nothing, and not with its header"),
        (["0", "1"], "has 0, 1, … for its header, as pandas writes if the columns have no names"),
        (["", "0", "1"], "has 0, 1, … for its header, as pandas writes if the columns have no names"),
        (["a   b"], "is not separated by commas: its fields are separated by spaces"),
        (["sep=;"], "begins with Excel's line 'sep=', which is not the header"),
        (["sep=", ""], "begins with Excel's line 'sep=', which is not the header"),
        (["# made by secret"], "begins with a comment ('#'), which is not the header"),
        (["{secret: 1"], "is JSON and not CSV"),
        (["<html><body>secret"], "is HTML or XML and not CSV"),
        (["version https://git-lfs.github.com/spec/v1"], "is a pointer of Git LFS and not CSV"),
        (["ORC"], "is ORC and not CSV"),
        (["secret", "31.5"], "seems to have no header: its first line holds values"),
        (["secret", "2024-02-29", "-1e5"], "seems to have no header: its first line holds values"),
    ],
)
def test_a_first_line_that_is_no_header_is_said_by_its_kind_and_without_its_values(names, what):
    mistake = lacking_columns(["a", "b"], names)
    assert mistake.what == what
    assert not [secret for secret in SECRETS if secret in mistake.advice]


@pytest.mark.parametrize(
    "names", [["2019", "2020", "2021", "a"], ["#", "a"], ["<b", "a"], ["{b}", "a"], ["sep=", "a"], ["id;b", "a"], ["0", "a"]]
)
def test_a_line_that_has_a_wanted_column_is_the_header_whatever_else_it_has(names):
    what = lacking_columns(["a", "far off"], names).what
    assert what == f"has no column 'far off'; it has {', '.join(map(repr, names))}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('"a";"b"', "separated by ';'"),
        ('"a"\t"b"', "separated by tabs"),
        ('{"a": 1, "b": 2}', "is JSON and not CSV"),
        ('[{"a": 1}]', "is JSON and not CSV"),
        ('"a", "b"', "spaces between a comma and a quote"),
        ('"a" ,"b"', "spaces between a comma and a quote"),
        ("a,b\r1,2", "bare carriage return"),
        ('a"x,b', "stray or unclosed quote"),
    ],
)
def test_a_first_line_that_is_not_even_csv_is_said_by_its_kind(text, what):
    assert what in header_mistake(text.encode()).what


@pytest.mark.parametrize(
    ("name", "names", "says"),
    [
        ("price", ["id", "Price"], "'price' (it has 'Price', with other capitals); it has 'id', 'Price'"),
        ("a", [" a ", "b"], "'a' (it has ' a ', with spaces around it)"),
        ("a", ["a\u00a0", "b"], r"'a' (it has 'a\xa0', with other or invisible characters in it)"),
        ("a", ["\u200ba", "b"], r"'a' (it has '\u200ba', with other or invisible characters in it)"),
        ("dep_delay", ["dep_delays"], "'dep_delay' (did you mean 'dep_delays'?)"),
        ("Unnamed: 0", ["", "a"], "'Unnamed: 0' (as pandas calls column 1, which has no name: ''); it has '', 'a'"),
        ("a.1", ["a", "a"], "'a.1' (as pandas calls one of the columns named 'a')"),
        ("x", ["", "b"], "'x'; it has '', 'b'"),
        ("x", ["x:sum", "y"], "'x'; it has 'x:sum', 'y'"),
        ("x", ["time:z"], "'x'; it has 'time:z'"),
        ("2021", ["2019", "2020"], "'2021' (did you mean '2020'?); it has '2019', '2020'"),  # columns may be called by numbers
    ],
)
def test_a_missing_column_is_compared_with_those_that_are_there(name, names, says):
    assert f"has no column {says}" in lacking_columns([name], names).what


def test_a_long_list_is_counted():
    names = [f"column {number}" for number in range(2000)]
    mistake = lacking_columns([f"absent {number}" for number in range(1000)], names)
    assert "'absent 9' and 990 more; it has 'column 0'" in mistake.what
    assert mistake.what.endswith("'column 49' and 1950 more")
