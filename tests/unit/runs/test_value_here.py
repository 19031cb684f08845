"""On this machine a message shows the value, the file's row and line; the functions' own messages never do."""

import gzip

import pyarrow as pa
import pytest

from batch_predict.runs.value_here import told_here, with_value

URI = "s3://batch-predict/data/in.csv"


@pytest.fixture
def told(tmp_path):
    """Return what becomes of a message about a file of these bytes."""

    def told(content, message, csv_field=None):
        path = tmp_path / "in.csv"
        path.write_bytes(content)
        return with_value(message.replace("FILE", URI), {path: URI}, csv_field).replace(URI, "FILE")

    return told


def test_a_value_is_shown_with_its_row_and_line(told):
    content = b'id,"a, b"\n"x\ny",1\n\n007,NONE\n'
    message = f"FILE row 2 (byte {content.index(b'007')}), column 'a, b': a text of 4 character(s) is not a number"
    assert told(content, message) == f"{message}. It is row 2 of the file (line 5), column 'a, b': 'NONE'"


@pytest.mark.parametrize("compress", [gzip.compress, lambda text: pa.Codec("zstd").compress(text, asbytes=True)])
def test_a_value_is_shown_of_compressed_text(told, compress):
    message = "FILE row 2 (byte 4), column 'a': a text of 4 character(s) is not a number"
    assert told(compress(b"a\n1\nlate\n"), message) == f"{message}. It is row 2 of the file (line 3), column 'a': 'late'"


def test_a_value_of_json_lines_is_shown_with_its_line(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":"1\\n"}\n\n{"b":2,"a":"late"}\n[1]')
    uploads = {path: "s3://batch-predict/data/in.jsonl"}
    message = f"{uploads[path]} row 2 (byte 13), column 'a': a text of 4 character(s) is not a number"
    assert with_value(message, uploads) == f"{message}. It is line 3 of the file, key 'a': 'late'"
    message = f"{uploads[path]} row 3 (byte 32), the line is JSON, but no object"
    assert with_value(message, uploads) == f"{message}. It is line 4 of the file, which reads '[1]'"
    gone = f"{uploads[path]} row 3 (byte 32), column 'a': not there"
    assert with_value(gone, uploads) == gone


def test_a_row_of_a_later_chunk_is_a_row_of_the_file(told):
    content = b"a\n" + b"1\n" * 5000 + b"bad\n" + b"1\n" * 10
    byte = content.index(b"bad")
    message = (
        f"chunk 3 of 9, FILE bytes=[8000, 9000): FILE byte {byte} (row 7 of the chunk that starts at byte 8000), column 'a': no"
    )
    assert told(content, message).endswith(" It is row 5,001 of the file (line 5,002), column 'a': 'bad'")


def test_a_row_is_shown_whole_where_no_column_is_to_blame(told):
    message = "FILE row 1 (byte 4), no value in 'a': the model refuses this row: Input X contains NaN."
    assert told(b"a,b\n,2\n", message) == f"{message} It is row 1 of the file (line 2), which reads ',2'"


def test_bytes_that_are_not_utf_8_are_shown(told):
    content = "größe,name\n1,Köln\n".encode("latin-1")
    assert told(content, "FILE row 1 (byte 11): bytes that are not UTF-8").endswith(r"(line 2), which reads '1,K\\xf6ln'")
    message = "FILE is not UTF-8 at byte 2 of its header, but perhaps Latin-1"
    assert told(content, message) == f"{message}. The file's first line is 'gr\ufffd\ufffde,name'"


def test_a_value_of_another_dialect_is_shown(told):
    csv_field = {"delimiter": ";", "decimal": ",", "encoding": "cp1252", "comment": "#"}
    content = "# c\nö;b\n1,5;2\n#d\nä;3\n".encode("cp1252")
    assert told(content, "FILE row 2 (byte 17), column 'ö': no", csv_field).endswith("row 2 of the file (line 5), column 'ö': 'ä'")
    csv_field |= {"header": False, "column_names": ["a", "b"]}
    message = "FILE row 2 (byte 9), column 'b': no"
    assert told(content[8:], message, csv_field).endswith("It is row 2 of the file (line 3), column 'b': '3'")


def test_what_a_terminal_would_obey_is_escaped(told):
    assert told(b"a\n\x1b[2J\n", "FILE row 1 (byte 2), column 'a': no").endswith(r"column 'a': '\x1b[2J'")


def test_the_first_line_is_shown_where_it_is_no_header(told):
    message = "FILE seems to have no header: its first line holds values"
    assert told(b"31337,secret\n1,2\n", message) == f"{message}. The file's first line is '31337,secret'"


@pytest.mark.parametrize(
    "message",
    [
        "s3://another/in.csv row 1 (byte 2), column 'a': no",
        "FILE row 1 (byte 3), column 'a': no",  # not where a record begins: the file has changed
        "FILE row 1 (byte 900), column 'a': no",
        "FILE row 1 (byte 2), column 'gone': no",
        "FILE row 1 (byte 2) and the 900 rows after it: column 'a' holds text",
        "FILE does not exist",
    ],
)
def test_what_cannot_be_told_is_left_out(told, message):
    assert told(b"a\nbad\n1\n", message) == message


def test_a_file_that_is_gone_tells_nothing(tmp_path):
    message = f"{URI} row 1 (byte 2), column 'a': no"
    assert with_value(message, {tmp_path / "gone.csv": URI}) == message


def test_paths_are_the_users_own(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a\nbad\n")
    told = told_here(f"{URI} row 1 (byte 2), column 'a': no", {path: URI})
    assert told == f"{path} row 1 (byte 2), column 'a': no. It is row 1 of the file (line 2), column 'a': 'bad'"
