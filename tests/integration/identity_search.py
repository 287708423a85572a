"""Searches files for planted identifiers, in the encodings in which they could have slipped out."""
import base64
import collections
import gzip
import json
import re
import subprocess
import tempfile
import zlib


# Share of files in which a shifted date may equal a planted one of somebody else.
DATES_BY_CHANCE = 0.05


def identifiers(phi_file):
    """Every planted value of a hospital's answer key that is long enough to be told from chance."""
    values = set()
    with open(phi_file) as key:
        cases = json.load(key)
    for case in cases.values():
        for value in flatten(case):
            if not isinstance(value, str):
                continue
            parts = {value, value.replace("^", " "), *value.split("^")}
            values |= {part for part in parts if len(part) >= 5}
    return values


def split_dates(values):
    """(identifiers that are no date, dates). De-identification shifts a patient's dates, and a shifted
    date may well be the date of another patient: dates are therefore judged by how many files hold
    one, everything else by whether any does."""
    dates = {value for value in values if re.fullmatch(r"(19|20)\d{6}", value)}
    return values - dates, dates


def flatten(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from flatten(item)
    elif isinstance(value, list):
        for item in value:
            yield from flatten(item)
    else:
        yield value


def needles(values):
    """Bytes to look for -> the value they betray. Lower case where the encoding keeps letters."""
    found = {}
    for value in values:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
            try:
                raw = value.encode(encoding)
            except UnicodeEncodeError:
                continue
            found[raw.lower()] = value
            found[raw.hex().encode()] = value
        raw = value.encode()
        found[json.dumps(value)[1:-1].encode().lower()] = value
        # base64 of the value at each of the three alignments inside a longer text
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + raw)
            core = coded[4 if shift else 0:-4]
            if len(core) >= 8:
                found[core.lower()] = value
    return found


class Searcher:
    """Looks for all needles at once with grep, whose fixed-string search does not slow down with
    their number."""

    def __init__(self, values):
        self.needles = needles(values)
        self.patterns = tempfile.NamedTemporaryFile(prefix="consilium-needles-")
        self.patterns.write(b"\n".join(sorted(self.needles)))
        self.patterns.flush()

    def grep(self, *arguments, data=None):
        done = subprocess.run(
            ["grep", "--fixed-strings", "--ignore-case", "--text", "--only-matching",
             "--file", self.patterns.name, *arguments],
            input=data, capture_output=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        if done.returncode > 1:
            raise AssertionError(f"grep: {done.stderr.decode(errors='replace')[:500]}")
        return done.stdout

    def in_bytes(self, data):
        """The planted values in `data`, also inside a gzip or zlib stream that starts at its head."""
        texts = [data]
        for inflate in (gzip.decompress, zlib.decompress):
            try:
                texts.append(inflate(data))
            except (OSError, zlib.error, EOFError):
                pass
        return {self.needles[match.lower()] for text in texts
                for match in self.grep(data=text).split(b"\n") if match}

    def in_tree(self, folder):
        """{path: number of hits} over all files below `folder`, names included."""
        hits = collections.Counter()
        # --null parts the file's name from the match, whatever is in either.
        for line in self.grep("--recursive", "--null", str(folder)).split(b"\n"):
            if line:
                hits[line.split(b"\0")[0].decode(errors="replace")] += 1
        names = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
        for value in self.in_bytes(names.encode()):
            hits[f"a file name holds {len(value)} letters of an identifier"] += 1
        return dict(hits)


def wire_bytes(grpc_trace):
    """The plaintext that gRPC's `secure_endpoint` trace dumped, by direction."""
    out = {"READ": bytearray(), "WRITE": bytearray()}
    line = re.compile(rb"(READ|WRITE) 0x[0-9a-f]+: ((?:[0-9a-f]{2} )*[0-9a-f]{2})")
    for direction, dump in line.findall(grpc_trace):
        out[direction.decode()] += bytes.fromhex(dump.decode())
    return {key: bytes(value) for key, value in out.items()}


def main():
    """identity_search.py HOSPITALS FOLDER: is any identifier of HOSPITALS/*/phi.json in FOLDER?"""
    import pathlib
    import sys
    hospitals, folder = map(pathlib.Path, sys.argv[1:])
    values = set()
    for phi_file in sorted(hospitals.glob("*/phi.json")):
        values |= identifiers(phi_file)
    values, dates = split_dates(values)
    searcher, date_searcher = Searcher(values), Searcher(dates)
    archive = next(hospitals.glob("*/archive"))
    if not searcher.in_tree(archive) or not date_searcher.in_tree(archive):
        sys.exit("the search finds nothing even in an archive: it proves nothing")
    hits = searcher.in_tree(folder)
    for path, found in hits.items():
        print(f"{path}: {found} hits")
    print(f"{len(values)} identifiers searched in {folder}: {len(hits)} files hold one")
    files = sum(path.is_file() for path in folder.rglob("*"))
    dated = len(date_searcher.in_tree(folder))
    print(f"{len(dates)} dates: {dated} of {files} files hold one")
    sys.exit(1 if hits or dated > files * DATES_BY_CHANCE else 0)


if __name__ == "__main__":
    main()
