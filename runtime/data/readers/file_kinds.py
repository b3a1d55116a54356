"""Recognises files of other kinds by their first bytes, where a text or another format was expected."""

_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "packed by gzip", "a name that ends with .gz, as in `t.csv.gz`, if it is packed once"),
    (b"PK\x03\x04", "a zip archive", 'unpack it, or read it by xlsx("...") or npz("...")'),
    (b"PAR1\x15", "a Parquet file", 'parquet("...")'),
    (b"ARROW1\0\0", "an Arrow file", 'arrow("...")'),
    (b"SQLite format 3\0", "a SQLite database", 'sql("sqlite:///FILE", "select ...")'),
    (
        b"\x93NUMPY",
        "a single NumPy array",
        'numpy.savez("t.npz", x = array), and npz("t.npz")',
    ),
    (b"\x89PNG", "a picture", 'images("...")'),
    (b"\xff\xd8\xff", "a picture", 'images("...")'),
    (b"%PDF-", "a PDF", "save its table as csv"),
)


def other_kind(head: bytes) -> tuple[str, str] | None:
    """The words for a kind of file that is not text, and a hint for reading it; None for the bytes of other files."""
    return next(((words, hint) for magic, words, hint in _KINDS if head.startswith(magic)), None)
