"""The input objects: which ones a request names."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from .confinement import ambiguous, in_work, outside
from .data_names import WILDCARDS, is_hidden, natural_order
from .errors import InvalidDataError, InvalidRequestError
from .limits import MAX_MANIFEST_BYTES, ObjectCount
from .s3 import S3Client, get_json, head_object, in_parallel, list_pages, parse_s3_uri

MANIFEST_SUFFIX = ".manifest.json"
MARKER = "_SUCCESS"
"""Name of the empty object that Hadoop, Spark and their like write into a folder when it is whole."""


class InputObject(NamedTuple):
    """One object of data, as it was when it was resolved."""

    uri: str
    size: int
    etag: str


class Listing(NamedTuple):
    """What one entry of `data_s3_uri` names."""

    objects: list[InputObject]
    skipped: int
    """Objects under a prefix, or that match a glob, that are no data: empty, folder markers, or hidden (data_names.py)."""


class Glob(NamedTuple):
    """An entry with a wildcard in its last part."""

    folder: str
    """Ends in `/`."""
    pattern: str
    """The pattern of the part after it, like a shell's: `*` and `?` match no `/`."""

    @property
    def prefix(self) -> str:
        """What every match starts with: the longest that a listing can be narrowed to."""
        return self.folder + WILDCARDS.split(self.pattern)[0]

    def matches(self, uri: str) -> bool:
        """Whether an object is directly in the folder, and its name matches."""
        name = uri.removeprefix(self.folder)
        return "/" not in name and fnmatchcase(name, self.pattern)


def no_data(uri: str) -> str:
    """Say that an entry names no objects with data."""
    return (
        f"{uri} holds no objects with data (empty ones, and those with a part that begins with _ or ., are none): "
        f"check the prefix, or what the wildcard should match{_NO_FAILURE}"
    )


def nothing_to_predict(found: InputObject, *, has_header: bool) -> InvalidDataError:
    """Return the error of data without rows, by its first object."""
    advice = f"there is nothing to predict: name data that has rows{_NO_FAILURE}"
    return InvalidDataError(f"{found.uri} holds {'a header but ' if has_header else ''}no rows", advice)


_NO_FAILURE = '; if that is no failure, set on_no_rows to "succeed"'


def folder_of(uri: str) -> str:
    """Return the prefix that a marker says is whole; any other URI as it is."""
    return uri.removesuffix(MARKER) if uri.endswith(f"/{MARKER}") else uri


def is_prefix(uri: str) -> bool:
    """Whether an entry of `data_s3_uri` names all objects under it."""
    return uri.endswith("/")


def is_manifest(uri: str) -> bool:
    """Whether an entry is an object that lists the data's objects."""
    return uri.endswith(MANIFEST_SUFFIX)


def glob_of(uri: str) -> Glob | None:
    """Return the glob that an entry is; InvalidRequestError if its wildcard stands too early."""
    wildcard = WILDCARDS.search(uri)
    if wildcard is None:
        return None
    folder, slash, pattern = uri.rpartition("/")
    if wildcard.start() <= len(folder):
        raise InvalidRequestError(f"{uri} has a wildcard (one of * ? [) before its last part: list the prefixes one by one")
    return Glob(folder + slash, pattern)


def resolve(client: S3Client, uri: str, count: ObjectCount, *, may_lack_rows: bool = False) -> Listing:
    """Return the objects that one entry of `data_s3_uri` names: of a prefix or glob in natural order, else in the list's.

    InvalidRequestError as soon as all entries together name too many. Empty ones are an error unless `may_lack_rows`, or skipped.
    """
    if not (is_prefix(uri) or glob_of(uri)):
        listed = read_manifest(client, uri, may_be_empty=may_lack_rows) if is_manifest(uri) else [uri]
        count.add(listed)
        named = in_parallel(lambda item: _named_object(client, item, may_lack_rows=may_lack_rows), listed)
        filled = [found for found in named if found]
        return Listing(filled, len(named) - len(filled))
    objects: list[InputObject] = []
    skipped = 0
    for page in data_pages(client, uri):
        count.add([found.uri for found in page.objects], page.skipped)
        objects += page.objects
        skipped += page.skipped
    objects.sort(key=_by_name)  # stable: equal ones stay in S3's own order
    return Listing(objects, skipped)


def data_pages(client: S3Client, uri: str) -> Iterator[Listing]:
    """Yield the objects under a prefix, or those that match a glob, page by page, so that a caller who wants one reads one page."""
    glob = glob_of(uri)
    for page in list_pages(client, glob.prefix, delimiter="/") if glob else list_pages(client, uri):
        listed = [InputObject(*item) for item in page if not glob or glob.matches(item[0])]
        objects = [found for found in listed if _holds_data(found, uri, glob)]
        yield Listing(sorted(objects, key=_by_name), len(listed) - len(objects))


def first_objects(client: S3Client, uri: str, *, may_lack_rows: bool = False) -> Iterator[InputObject]:
    """Yield the objects of one entry, listing no further than the caller reads: pages, not the whole, are in natural order."""
    if is_prefix(uri) or glob_of(uri):
        for page in data_pages(client, uri):
            yield from page.objects
        return
    for item in read_manifest(client, uri, may_be_empty=may_lack_rows) if is_manifest(uri) else [uri]:
        if found := _named_object(client, item, may_lack_rows=may_lack_rows):
            yield found


def read_manifest(client: S3Client, uri: str, *, may_be_empty: bool = False) -> list[str]:
    """Return the URIs that a manifest lists, a JSON array of objects' URIs; InvalidRequestError if it is not that."""
    try:
        listed = get_json(client, uri, max_bytes=MAX_MANIFEST_BYTES)
    except InvalidRequestError:
        raise
    except ValueError as error:
        raise InvalidRequestError(f"{uri} is not a manifest, a JSON array of the objects' S3 URIs: {error}") from error
    if not isinstance(listed, list) or not (listed or may_be_empty):
        raise InvalidRequestError(f"{uri} is not a manifest, a JSON array of the objects' S3 URIs")
    for number, item in enumerate(listed, start=1):
        if not isinstance(item, str) or not is_object_uri(item):
            raise InvalidRequestError(f"{uri} must list objects, s3://bucket/key, but entry {number} is {_kind_of(item)}")
        if problem := outside("data_s3_uri", item) or ambiguous(item) or in_work(item):
            raise InvalidRequestError(f"{uri} lists in entry {number} what it may not: {problem}")
    if repeated := repeated_in(listed):
        raise InvalidRequestError(
            f"{uri} lists {repeated} more than once: its rows would be scored as often", "list each object once"
        )
    return listed


def repeated_in(uris: Sequence[str]) -> str | None:
    """Return the first URI that is there a second time."""
    if len(set(uris)) == len(uris):
        return None
    seen: set[str] = set()
    return next(uri for uri in uris if uri in seen or seen.add(uri))  # type: ignore[func-returns-value]


def _kind_of(item: object) -> str:
    """Say what stands in the place of a URI, without repeating it: the object may be no manifest at all, but data."""
    if isinstance(item, str):
        return "a text that is no such URI, or one of a prefix, a glob or a manifest"
    kinds = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    return kinds.get(type(item), "a number")


def is_object_uri(uri: str) -> bool:
    """Whether a URI names one object, not a prefix, a glob or a manifest."""
    try:
        parse_s3_uri(uri)
    except InvalidRequestError:
        return False
    return not (is_prefix(uri) or is_manifest(uri) or WILDCARDS.search(uri))


def _by_name(found: InputObject) -> str:
    return natural_order(found.uri)


def _holds_data(found: InputObject, uri: str, glob: Glob | None) -> bool:
    """Whether an object is data of the prefix or glob `uri`: only what lies below that can hide it."""
    path = found.uri.removeprefix(glob.folder if glob else uri)
    if found.size == 0 or path.endswith("/") or path == "":
        return False
    names_hidden_ones = glob is not None and glob.pattern[0] in "_."
    return names_hidden_ones or not is_hidden(path)


def _named_object(client: S3Client, uri: str, *, may_lack_rows: bool) -> InputObject | None:
    """Return an object that is named by itself; None if it is empty, and may be."""
    head = head_object(client, uri)
    if head.size == 0 and may_lack_rows:
        return None
    if head.size == 0:
        raise InvalidDataError(f"{uri} is empty", f"it needs a header and at least one row{_NO_FAILURE}")
    return InputObject(uri, head.size, head.etag)
