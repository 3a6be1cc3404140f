"""Bad raw data, D1 to D40: what is wrong with a line. Each case beside sixty good rows, through 01 and 02.

Where a row of the list of bad inputs names another code than the test: warnings start with W (W103, W106, W117, W118),
and a raw record has no `messages` (D33 to D38), because 02 writes them itself from the text; a record that brings its
own is refused as a whole (E120, E121), so no role, turn order or content list of a contributor reaches a template.
"""

from __future__ import annotations

import json

import pytest

from bad_inputs import BAD, Bad, bad, judge, places, row

GOOD, BOM = row(), b"\xef\xbb\xbf"
UTF16 = GOOD.decode().encode("utf-16")
INVALID = GOOD + b'{"input": "caf\xff", "label": "shipping"}\n'
CONTROL = b'{"input": "a\x01b", "label": "shipping"}\n'
MESSAGES = [("E120", BAD, 1), ("E121", BAD, 1), ("E121", BAD, 1)]


def chat(case: str, messages: object) -> object:
    content = json.dumps({"messages": messages}).encode()
    if not messages:
        return pytest.param(Bad(case, content, MESSAGES, '"messages"'), id=case)
    return bad(case, content, "E175", None, "OpenAI messages")  # a conversation is imported, which checks its turns


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "hello"} for role in roles]


CASES = [
    bad("D1 empty file", b"", "E101", None, "the file is empty"),
    bad("D2 only blank lines", b"\n \n\n", "E102", 1, "no records"),
    bad("D3 blank line between records", GOOD + b"\n" + row("b"), "W103", 2),
    bad("D4 byte order mark", b"\xef\xbb\xbf" + GOOD, "E104", 1),
    bad("D4 in the middle", GOOD + BOM + row("b"), "E104", 2, "beside the record"),
    bad("D4 twice", BOM + BOM + GOOD, "E104", 1),
    bad("D4 at the end", GOOD + BOM, "E104", 2),
    bad("D4 read as Latin-1", "ï»¿".encode() + GOOD, "E104", 1),
    bad("D4 between joined records", GOOD.strip() + BOM + row("b"), "E104", 1,
        f"at column {len(GOOD)}: two files were joined"),
    bad("D4 in a name", b'{"\\ufeffinput": "a b", "label": "billing"}\n', "E104", 1, "in the name of the field"),
    bad("D4 of UTF-16 in the middle", GOOD + b"\xff\xfe" + row("b"), "E105", 2, "the byte order mark of UTF-16"),
    bad("D5 UTF-16 in the middle", GOOD + UTF16[2:-1].replace(b"\n", b""), "E105", 2, "a piece of UTF-16"),
    bad("D24 Ctrl-Z at the end", GOOD + b"\x1a", "E116", 2, "Ctrl-Z"),
    bad("D24 Ctrl-Z before a record", GOOD + b"\x1a" + row("b"), "E116", 2, "Ctrl-Z"),
    bad("D24 Ctrl-Z between joined records", GOOD.strip() + b"\x1a" + row("b"), "E116", 1, "two files were joined"),
    bad("D12 three objects", GOOD.strip() + row("b").strip() + row("c"), "E108", 1, "3 JSON values on one line"),
    bad("D12 a comma after an object", GOOD + row("b").strip() + b",\n" + row("c"), "E108", 2,
        "a comma after the JSON object"),
    bad("D5 UTF-16", UTF16, "E105", 1, "looks like UTF-16"),
    bad("D5 UTF-16 without mark", UTF16[2:], "E105", 1, "looks like UTF-16"),
    bad("D6 invalid byte", INVALID, "E105", 2, f"0xff at byte 15 of the line, offset {len(GOOD) + 14} of the file"),
    bad("D7 CRLF", GOOD.replace(b"\n", b"\r\n") + row("b"), "W106", 1),
    bad("D8 lone CR", GOOD.replace(b"\n", b"\r") + row("b"), "E106", 1),
    bad("D9 U+2028", row("a\u2028b")),
    bad("D9 U+0085", row("a\x85b")),
    bad("D9 VT", b'{"input": "a\\u000bb", "label": "shipping"}\n'),
    bad("D9 FS", b'{"input": "a\\u001cb", "label": "shipping"}\n'),
    bad("D10 truncated last line", GOOD + b'{"input": "where is', "E107", 2, "the line ends before"),
    bad("D11 no final newline", GOOD.strip()),
    bad("D12 two objects on one line", GOOD.strip() + row("b"), "E108", 1, "two JSON values on one line"),
    bad("D13 trailing text", GOOD.strip() + b" foo\n", "E108", 1, f"at column {len(GOOD) + 1}"),
    bad("D14 top-level array", b"[" + GOOD.strip() + b"]\n", "E109", 1, "an array"),
    bad("D15 scalar", b"3\n", "E109", 1, "a number"),
    bad("D15 null", b"null\n", "E109", 1, "null"),
    bad("D16 single quotes", b"{'input': 'a', 'label': 'shipping'}\n", "E110", 1, "near"),
    bad("D16 trailing comma", b'{"input": "a", "label": "shipping",}\n', "E110", 1, "near"),
    bad("D16 comment", b'{"input": "a", /* x */ "label": "shipping"}\n', "E110", 1, "near"),
    bad("D17 repeated key", b'{"input": "a", "label": "billing", "label": "shipping"}\n', "E111", 1, "label"),
    bad("D17 an escaped key", b'{"input": "a", "label": "billing", "l\\u0061bel": "shipping"}\n', "E111", 1,
        "in two spellings"),
    bad("D17 a key in NFC and NFD", '{"input": "a", "label": "billing", "é": 1, "e\u0301": 2}\n'.encode(), "E111",
        1, "é"),
    bad("D17 in an entity", b'{"input": "a b", "entities": [{"type": "product", "text": "a", "t\\u0079pe": "x"}]}\n',
        "E111", 1, "type", task_type="extraction"),
    bad("D18 NaN", b'{"input": NaN, "label": "shipping"}\n', "E112", 1, "NaN"),
    bad("D18 Infinity", b'{"input": "a", "label": -Infinity}\n', "E112", 1, "Infinity"),
    bad("D19 1e400", b'{"input": "a", "label": 1e400}\n', "E112", 1),
    bad("D20 5000 digits", b'{"input": "a", "label": ' + b"9" * 5000 + b"}\n", "E113", 1, "too many digits"),
    # No field of a raw record is a number, so the type is what is wrong.
    bad("D21 2^63", b'{"input": "a", "label": 9223372036854775808}\n', "E123", 1, "a number, not text"),
    bad("D22 depth 1000", b'{"input": ' + b"[" * 1000 + b"]" * 1000 + b"}\n", "E114", 1, "nested deeper than 32"),
    bad("D22 depth 100000", b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "E114", 1),
    bad("D23 lone surrogate", b'{"input": "a \\ud800 b", "label": "shipping"}\n', "E115", 1, "d800"),
    bad("D24 NUL", row("a\x00b"), "E116", 1, "U+0000"),
    bad("D24 escape", row("a\x1b[31mb"), "E116", 1, "U+001B"),
    bad("D24 unescaped", CONTROL, "E116", 1, "U+0001"),
    bad("D25 zero width", row("pay\u200bment"), "W117", 1, "U+200B"),
    bad("D25 bidi", row("pay\u202ement"), "E117", 1, "U+202E"),
    bad("D25 tag", row("pay\U000e0041ment"), "E117", 1, "U+E0041"),
    bad("D26 not NFC", row("cafe\u0301"), "W118", 1),
    bad("D27 unknown field", row(grup="g1"), "E120", 1, 'did you mean \\"group\\"?'),
    bad("D28 missing field in row 2", GOOD + b'{"input": "b"}\n', "E121", 2, '\\"label\\" is missing'),
    bad("D29 null", row(label=None), "E122", 1),
    bad("D30 number in row 2", GOOD + b'{"input": 3, "label": "shipping"}\n', "E123", 2, "a number, not text"),
    bad("D31 dates stay text", row("2024-01-01") + row("2024-01-02")),
    bad("D32 empty", row(""), "E124", 1),
    bad("D32 white space", row(" \t\u3000\n"), "E124", 1),
    bad("D32 invisible", row("\u200b\ufeff"), "E124", 1),
    chat("D33 empty messages", []),
    chat("D34 unknown role", turns("user\nX<|im_end|>", "assistant")),
    chat("D35 last turn not assistant", turns("user")),
    chat("D36 two user turns", turns("user", "user", "assistant")),
    chat("D36 system not first", turns("user", "system", "assistant")),
    chat("D37 content is a list", [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]),
    bad("D38 tool_calls in one row", GOOD + row("b", tool_calls=[]), "E120", 2, "tool_calls"),
    *[
        bad(f"D39 {token}", row(f"hello {token} there"), "E130", 1, token)
        for token in ("<|im_start|>", "</s>", "[INST]", "<start_of_turn>")
    ],
    bad("D40 full width", row("hello ＜｜im_start｜＞"), "E130", 1, "<|im_start|>"),
    pytest.param(
        Bad("D40 zero width", row("hello <|im_\u200bstart|>"), [("E130", BAD, 1), ("W117", BAD, 1)], "<|im_start|>"),
        id="D40 zero width",
    ),
]  # fmt: skip


@pytest.mark.parametrize("bad", CASES)
def test_a_bad_line_is_named_by_code_file_and_line(make_project, capsys, bad: Bad) -> None:
    project = make_project(bad.task_type)
    (project.paths.raw / "bad.jsonl").write_bytes(bad.content)
    _, problems, said = judge(project.paths.root, capsys)
    assert places(problems) == bad.found
    assert bad.says in said
    assert all(problem["fix"] for problem in problems)


def test_an_accepted_separator_stays_in_one_record_and_a_date_stays_text(make_project, capsys) -> None:
    project = make_project()
    texts = ["a\u2028b", "a\x85c", "a\x0bd", "a\x1ce", "2024-01-01", "2024-01-02"]
    lines = [json.dumps({"input": text, "label": "billing"}) for text in texts]
    (project.paths.raw / "bad.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert judge(project.paths.root, capsys)[0] == 0
    files = [project.paths.train, project.paths.valid, project.paths.test]
    written = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]
    assert set(texts) <= {record["messages"][1]["content"] for record in written}
    assert len(written) == 60 + len(texts)


@pytest.mark.parametrize("text", ["grep -r 'a < b' | sort", "if x <s y> z", "a [1] b", "1 < 2 > 0", "<3 thanks"])
def test_ordinary_brackets_are_no_control_token(make_project, capsys, text: str) -> None:
    project = make_project()
    (project.paths.raw / "bad.jsonl").write_bytes(row(text))
    assert judge(project.paths.root, capsys)[1] == []
