"""How values are spelled, and what stands around them: each is read by pandas and by the handler."""

MISSING = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
           "NaN", "None", "n/a", "nan", "null"]  # fmt: skip
"""What `pandas.read_csv` takes for missing."""

LOOKS_MISSING = [
    "na", "Na", "none", "NONE", "Null", "NAN", "Nan", "nAn", "N/a", "n.a.", "-", "--", "?", ".", "#", "#REF!", "#DIV/0!",
    "missing", "NaT", "<na>", "pd.NA", "undefined", " NA", "NA ", "nan ", " nan", " NaN ", "+nan", "+NaN", "-NAN", "- nan",
    "nan(1)", "NaN(ind)", "nan()", "1.#SNAN", "#VALUE!", "null ", " ", "  ", "\t", "''", "NA,NA", "nil", "\\N", "(null)",
]  # fmt: skip

NUMBERS = [
    "0", "1", "+1", "-1", "01", "007", "-0", "+0", "-007", "1.", "1.0", "1.50", ".5", "-.5", "+.5", "-0.0", "00.5", "1e3", "1E3",
    "1e+3", "1e-3", "1.e3", ".5e1", "+1e3", "1e03", "1e0", "0e5", "1e400", "-1e400", "1e-400", "5e-324", "2e-324",
    "2.2250738585072014e-308", "1.7976931348623157e308", "1e308", "1e22", "1e23", "0.1", "0.30000000000000004", "0.3",
    "123456789.123456789", "0.1000000000000000055511151231257827", "3.141592653589793238462643383279502884", "8.41", "1.1e-5",
    "9007199254740992", "9007199254740993", "-9007199254740993", "9007199254740993.0", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
    "123456789012345678901234567890", "00000000000000000000000000000001", "1" * 30 + ".5", "0." + "0" * 40 + "1", " 1", "1 ",
    " 1 ", "  1.5", "\t1", "1\t", " -1", " +1 ", " 1e3 ", "1\n", "\n1",
]  # fmt: skip

LOOKS_LIKE_A_NUMBER = [
    "1e", "e1", "1e1.5", "1e+", "1d3", "1D3", "1_000", "1_0.5", "1,000", "1,5", "1.000,5", "1 000", "1'000", "1.5.2", "--1",
    "+-1", "-+1", "++1", "- 1", "+ 1", "1-", "1+", "(1)", "$1", "€1", "1%", "1/2", "1:30", "0x1A", "0X1a", "0x1p3", "0b1", "0o7",
    "1f", "1L", "1j", "1+2j", "+", "e", ".e1", "1..", "..1", "1e5e5", "1e-", "\u00a01", "1\u00a0", "\u20031", "\uff11", "٣", "²",
    "½", "\u22121", "1\u066b5", "\ufeff1", "1\ufeff", "0 1", "1.0.", "=1", '"1"', "one", "#1", "1;2", "1x",
]  # fmt: skip

INFINITE = ["inf", "Inf", "INF", "iNf", "+inf", "-inf", "infinity", "Infinity", "INFINITY", "-Infinity", "+Infinity"]
LOOKS_INFINITE = ["infin", "inf ", " inf", " -inf", "- inf", "∞", "1.#INF", "-1.#INF", "Infinite", "+-inf", "infinityy", "\tinf"]

BOOLEANS = ["True", "False", "TRUE", "FALSE", "true", "false"]
LOOKS_BOOLEAN = [
    "tRUE",
    "T",
    "F",
    "t",
    "f",
    "yes",
    "no",
    "Y",
    "N",
    "on",
    "off",
    "True ",
    " True",
    "-True",
    "+true",
    "truE",
    "FALSE ",
    "wahr",
]

OTHERS = ["2024-01-01", "12:00", "1 Jan", "text", "a,b", 'say "1"', "two\nlines", "é", "e\u0301", "😀", "\u200b", "\u200b1"]

SPELLINGS = [
    *MISSING, *LOOKS_MISSING, *NUMBERS, *LOOKS_LIKE_A_NUMBER, *INFINITE, *LOOKS_INFINITE, *BOOLEANS, *LOOKS_BOOLEAN, *OTHERS,
]  # fmt: skip

NEIGHBOURS = {
    "alone": [],
    "among decimals": ["1.5", "2.25"],
    "among integers": ["1", "3"],
    "among missing values": ["", ""],
    "among booleans": ["True", "False"],
    "among texts": ["x", "y"],
}
"""What stands before and after it in its column."""


def column(spelling: str, neighbours: str) -> list[str]:
    around = NEIGHBOURS[neighbours]
    return [*around[:1], spelling, *around[1:]]
