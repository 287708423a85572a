"""Searches files for planted identifiers, in the encodings in which they could have slipped out."""
import base64
import gzip
import json
import re
import zlib


def identifiers(phi_file):
    """Every planted value of a hospital's answer key that is long enough to be told from chance."""
    values = set()
    for case in json.load(open(phi_file)).values():
        for value in flatten(case):
            if not isinstance(value, str):
                continue
            parts = {value, value.replace("^", " "), *value.split("^")}
            values |= {part for part in parts if len(part) >= 5}
    return values


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
    def __init__(self, values):
        self.needles = needles(values)
        ordered = sorted(self.needles, key=len, reverse=True)
        self.pattern = re.compile(b"|".join(re.escape(n) for n in ordered))

    def in_bytes(self, data):
        """The planted values in `data`, also inside gzip or zlib streams that start at its head."""
        hits = {self.needles[m] for m in self.pattern.findall(data.lower())}
        for inflate in (gzip.decompress, zlib.decompress):
            try:
                hits |= {self.needles[m] for m in self.pattern.findall(inflate(data).lower())}
            except (OSError, zlib.error, EOFError):
                pass
        return hits

    def in_tree(self, folder):
        """{path: values} over all files below `folder`, names included."""
        hits = {}
        for path in sorted(folder.rglob("*")):
            found = self.in_bytes(str(path.relative_to(folder)).encode())
            if path.is_file() and not path.is_symlink():
                found |= self.in_bytes(path.read_bytes())
            if found:
                hits[str(path)] = found
        return hits


def wire_bytes(grpc_trace):
    """The plaintext that gRPC's `secure_endpoint` trace dumped, by direction."""
    out = {"READ": bytearray(), "WRITE": bytearray()}
    line = re.compile(rb"(READ|WRITE) 0x[0-9a-f]+: ((?:[0-9a-f]{2} )*[0-9a-f]{2})")
    for direction, dump in line.findall(grpc_trace):
        out[direction.decode()] += bytes.fromhex(dump.decode())
    return {key: bytes(value) for key, value in out.items()}
