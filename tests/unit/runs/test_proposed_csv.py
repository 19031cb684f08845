"""How a CSV file seems to be written, by its first bytes."""

import pytest

from batch_predict.runs.proposed_csv import SAMPLE_BYTES, proposed_csv


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("id,x,y\n1,2.5,3\n", None),
        ("id;x;y\n1;2,5;3\n", {"delimiter": ";", "decimal": ","}),
        ("id;x;y\n1,5;2.5;3\n", {"delimiter": ";"}),  # of the wanted columns
        ("id;x;y\n1;2.5;3,5\n", {"delimiter": ";"}),
        ("id\tx\ty\n1\t2,5\t3\n", {"delimiter": "\t", "decimal": ","}),
        ("id\x01x\x01y\n", {"delimiter": "\x01"}),
        ("# of today\n\nid|x|y\n1|2|3", {"delimiter": "|", "comment": "#"}),
        ("größe;x;y\nä;2,5;3\n".encode("cp1252"), {"delimiter": ";", "decimal": ",", "encoding": "cp1252"}),
        (b"gr\x81;x;y\n\xe4;2;3\n", {"delimiter": ";", "encoding": "iso8859-1"}),
        ('id,x,y\n1,"2,5",3\n', None),
        ("\ufeffid;x;y\n", {"delimiter": ";"}),
        ("id;x;y\n1;2,5;é\n" + "1;2,5;é\n" * (SAMPLE_BYTES // 8), {"delimiter": ";", "decimal": ","}),
        ("\ufeffid;x;y\n1;2,5;3\n".encode("utf-16-le"), {"delimiter": ";", "decimal": ",", "encoding": "utf-16-le"}),
        ("id\tx\ty\n".encode("utf-16-be"), {"delimiter": "\t", "encoding": "utf-16-be"}),
        ("1;2;3\n", None),
        ('id;"x;y\n', None),
        ("", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_field_is_what_makes_the_columns_appear(tmp_path, content, field):
    (tmp_path / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert proposed_csv(tmp_path / "in.csv", ["x", "y"]) == field
