"""Judges what a de-identification left: leaks, links, dates, geometry, pixels, validity, accounts.

Knows the archive that deid_judge_plant.py made and nothing of how the tool works. Every check returns
a list of findings, in words; an empty list is a pass.
"""
import base64
import collections
import pathlib
import re
import subprocess
import tempfile
import warnings
import zlib

import numpy
import pydicom

import deid_judge_glyphs as glyphs
from identity_search import Searcher

warnings.filterwarnings("ignore", module="pydicom")
GEOMETRY = ("Rows Columns PixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness "
            "SpacingBetweenSlices RescaleSlope RescaleIntercept BitsStored HighBit "
            "PixelRepresentation NumberOfFrames GridFrameOffsetVector DoseGridScaling "
            "SliceLocation").split()
# Changes that de-identification may make to numbers: sizes of what was removed, capped ages.
NUMBERS_FREE = {"PixelData", "InstanceNumber", "SmallestImagePixelValue", "LargestImagePixelValue"}
# Sequences that the standard's table removes with all that is in them.
REMOVED_WHOLE = {0x00880200, 0x04000561}  # IconImageSequence, OriginalAttributesSequence
NUMERIC = {"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD"}
CHANCE_LETTERS = 5  # shorter values are found by chance in any large file
TOOLS = {"1.2.840.10008.1.2.4.9": ["gdcmconv", "--raw"], "1.2.840.10008.1.2.4.8": ["dcmdjpls"],
         "1.2.840.10008.1.2.4.": ["dcmdjpeg"], "1.2.840.10008.1.2.5": ["dcmdrle"]}


class Outputs:
    """The files of a folder, and which input each DICOM file comes from."""

    def __init__(self, archive, folder):
        self.archive, self.folder = archive, folder
        self.paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        by_key = {planted.key: planted for planted in archive.files}
        self.pairs, self.strangers = [], []
        for path in self.paths:
            try:
                dataset = pydicom.dcmread(path)
                planted = by_key.pop(int(dataset.InstanceNumber))
            except Exception:  # pydicom raises whatever it meets; any output it cannot read is wrong
                self.strangers.append(path)
                continue
            self.pairs.append((planted, path, dataset))
        self.missing = list(by_key.values())


def inflated(data):
    """What zlib or deflate streams anywhere in `data` hold."""
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        stream = zlib.decompressobj()
        try:
            yield stream.decompress(data[start.start():], 64 << 20)
        except zlib.error:
            pass
    if b"1.2.840.10008.1.2.1.99" in data[:600]:
        for offset in range(300, min(len(data), 700)):
            try:
                yield zlib.decompressobj(-15).decompress(data[offset:], 64 << 20)
            except zlib.error:
                pass


def decoded_base64(data):
    for run in re.finditer(rb"[A-Za-z0-9+/]{24,}", data):
        text = run.group()
        yield base64.b64decode(text[:len(text) // 4 * 4])


CHARSETS = ("iso2022_jp", "gb18030", "euc_kr", "shift_jis", "iso8859-5", "iso8859-2", "utf-32-le")


def forms(secret):
    """The spellings of a secret that `Searcher` does not make itself, as texts of Latin-1 bytes."""
    found = {secret, secret.replace("^", " ")}
    for charset in CHARSETS:
        try:
            raw = secret.encode(charset)
        except UnicodeEncodeError:
            continue
        # What lies between ISO 2022 escapes is the same whatever set was active before.
        found |= {part.decode("latin-1") for part in re.split(rb"\x1b[$(\-)][A-Za-z0-9]*", raw)}
    return {form for form in found if len(form.encode("latin-1", "ignore")) >= CHANCE_LETTERS
            or len(form.encode()) >= 6}


def leaks(outputs, texts):
    """Planted and original identifiers in output bytes, names on disk, reports and messages."""
    secrets = set(outputs.archive.secrets) | outputs.archive.original
    for planted in outputs.archive.files:
        secrets |= set(planted.secrets)
    searcher = Searcher({form for secret in secrets if len(secret) >= CHANCE_LETTERS or
                         len(secret.encode()) >= 6 for form in forms(secret)})
    found = []
    found += [f"{path}: {count} identifiers"
              for path, count in searcher.in_tree(outputs.folder).items()]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for number, path in enumerate(outputs.paths):
            data = path.read_bytes()
            hidden = b"\n".join((*inflated(data), *decoded_base64(data)))
            (scratch / f"output-{number}").write_bytes(hidden)
        found += [f"{path}: {count} identifiers behind an encoding"
                  for path, count in searcher.in_tree(scratch).items()]
    for name, text in texts.items():
        hidden = searcher.in_bytes(text)
        if hidden:
            found.append(f"{name} holds {len(hidden)} identifiers")
    return found


def elements(dataset, place=()):
    """(path, element) at every depth."""
    for element in dataset:
        where = place + (element.tag,)
        yield where, element
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from elements(item, where + (number,))


def values(element):
    if element.value is None or element.value == "":
        return []
    return [str(v) for v in (element.value if element.VM > 1 else [element.value])]


def before_and_after(outputs, vrs):
    """(planted, input element, output element) of equal place in a file."""
    for planted, _, after in outputs.pairs:
        before = dict(elements(pydicom.dcmread(planted.path, force=True)))
        for where, element in elements(after):
            if element.VR in vrs and where in before:
                yield planted, before[where], element


def links(outputs):
    """UIDs: one-to-one over the archive, none of ours left, references to written files intact."""
    new_of, old_of, found = {}, {}, []
    for _, before, after in before_and_after(outputs, {"UI"}):
        for old, new in zip(values(before), values(after)):
            if old.startswith("1.2.840.10008.") and new == old:
                continue
            if old == new:
                found.append("a UID is as it was")
            if new_of.setdefault(old, new) != new:
                found.append("one UID became two")
            if old_of.setdefault(new, old) != old:
                found.append("two UIDs became one")
            if not re.fullmatch(r"[0-9.]{1,64}", new):
                found.append("a UID has a wrong form")
    for planted, path, after in outputs.pairs:
        if str(after.file_meta.MediaStorageSOPInstanceUID) != str(after.SOPInstanceUID):
            found.append("the meta header names another instance")
        if str(after.SOPClassUID).startswith("1.2.840.10008.5.1.4.1.1.66"):
            if "ReferencedSeriesSequence" not in after and "ReferencedSeriesSequence" in \
                    pydicom.dcmread(planted.path):
                found.append("a segmentation lost its series")
    return found


def shifts(outputs):
    """One shift for each patient, not nothing, not the same for all; no date as it was."""
    days, found = collections.defaultdict(set), []
    for planted, before, after in before_and_after(outputs, {"DA", "DT"}):
        for old, new in zip(values(before), values(after)):
            if not re.match(r"\d{8}", new) or not re.match(r"\d{8}", old):
                continue
            old_day, new_day = (numpy.datetime64(f"{t[:4]}-{t[4:6]}-{t[6:8]}") for t in (old, new))
            days[planted.patient].add(int((new_day - old_day) // numpy.timedelta64(1, "D")))
            if old[8:] != new[8:]:
                found.append("a time of day changed")
    for patient, shift in days.items():
        if len(shift) != 1:
            found.append(f"patient {patient} has {len(shift)} shifts")
        if 0 in shift:
            found.append(f"patient {patient}: dates are as they were")
    if len(days) < 3 or len({tuple(shift) for shift in days.values()}) == 1:
        found.append("all patients have the same shift, or too few have dates")
    return found


def geometry(outputs):
    found = []
    for _, before, after in before_and_after(outputs, NUMERIC):
        if after.keyword not in NUMBERS_FREE and after.value != before.value and values(after):
            found.append(f"{after.keyword or after.tag} changed")
    for planted, _, after in outputs.pairs:
        left = {where for where, _ in elements(after)}
        for where, element in elements(pydicom.dcmread(planted.path, force=True)):
            if element.keyword in GEOMETRY and values(element) and where not in left and \
                    not any(tag in REMOVED_WHOLE for tag in where):
                found.append(f"{planted.key}: {element.keyword} is gone")
    return found


def pixels_of(path, dataset):
    """Decoded stored values: frames, rows, columns, samples. None where no tool here can."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        tool = next((t for prefix, t in TOOLS.items() if syntax.startswith(prefix)), None)
        with tempfile.NamedTemporaryFile() as raw:
            if tool is None or subprocess.run([*tool, path, raw.name],
                                              capture_output=True).returncode:
                return None
            dataset = pydicom.dcmread(raw.name)
    frames, samples = int(dataset.get("NumberOfFrames", 1) or 1), dataset.SamplesPerPixel
    count = frames * dataset.Rows * dataset.Columns * samples
    shape = (frames, dataset.Rows, dataset.Columns, samples)
    if dataset.BitsAllocated == 1:
        bits = numpy.unpackbits(numpy.frombuffer(dataset.PixelData, numpy.uint8),
                                bitorder="little")
        return bits[:count].reshape(shape)
    order = "<" if dataset.is_little_endian else ">"
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        return numpy.frombuffer(dataset.PixelData, numpy.uint8)
    flat = numpy.frombuffer(dataset.PixelData, f"{order}u{dataset.BitsAllocated // 8}", count)
    mask = (1 << dataset.BitsStored) - 1 << dataset.HighBit + 1 - dataset.BitsStored
    if samples > 1 and dataset.PlanarConfiguration == 1:
        flat = flat.reshape(frames, samples, dataset.Rows, dataset.Columns).transpose(0, 2, 3, 1)
    return flat.reshape(shape) & numpy.array(mask, flat.dtype.newbyteorder("="))


def pictures(outputs, changed_max):
    """Pixels as they were outside of blackened places, nothing behind them, letters gone.

    `changed_max`: share of a file's pixels that may differ, for tools that black text out."""
    found, compared = [], 0
    for planted, path, after in outputs.pairs:
        if "PixelData" not in after:
            continue
        before = pixels_of(planted.path, pydicom.dcmread(planted.path, force=True))
        now = pixels_of(path, after)
        if before is None or now is None or before.shape != now.shape:
            if before is not None:
                found.append(f"{planted.key}: pixels cannot be read any more")
            continue
        compared += 1
        changed = float((before != now).mean())
        risky = planted.banner is not None or str(after.get("Modality")) in ("US", "OT", "SC", "XA",
                                                                             "NM", "CR", "DX", "SM")
        if changed > (changed_max if risky else 0):
            found.append(f"{planted.key}: {changed:.1%} of the pixels changed")
        if not after.file_meta.TransferSyntaxUID.is_encapsulated:
            bits = (int(after.get("NumberOfFrames", 1) or 1) * after.Rows * after.Columns *
                    after.SamplesPerPixel * after.BitsAllocated)
            if after.PhotometricInterpretation == "YBR_FULL_422":
                bits = bits * 2 // 3
            if len(after.PixelData) > (bits + 15) // 16 * 2:
                found.append(f"{planted.key}: bytes behind the pixels")
        if planted.banner is not None and any(glyphs.contrast(frame, planted.banner) > 0.1
                                              for frame in now):
            found.append(f"{planted.key}: the banner can still be read")
    return found, compared


def validity(outputs):
    """dciodvfy finds no more errors than before."""
    def errors(path):
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
        return [line for line in (done.stdout + done.stderr).splitlines()
                if line.startswith("Error")]
    found = []
    for planted, path, _ in outputs.pairs:
        before, after = errors(planted.path), errors(path)
        if len(after) > len(before):
            new = [e for e in after if e not in before]
            found.append(f"{planted.key}: {len(before)} errors became {len(after)}: {new[:3]}")
    return found


def markers(outputs, expected):
    found = []
    for planted, _, after in outputs.pairs:
        codes = {item.CodeValue for item in after.get("DeidentificationMethodCodeSequence", [])}
        if after.get("PatientIdentityRemoved") != "YES":
            found.append(f"{planted.key}: not marked")
        if not expected <= codes:
            found.append(f"{planted.key}: codes {sorted(codes)}")
        if after.get("LongitudinalTemporalInformationModified") != "MODIFIED":
            found.append(f"{planted.key}: temporal marker")
        if after.get("BurnedInAnnotation") == "NO" and planted.banner is not None and \
                "113101" not in codes:
            found.append(f"{planted.key}: says that nobody wrote into its pixels")
    return found


def accounts(outputs, report):
    """Each file of the input is written, held back or refused, once."""
    total = sum(path.is_file() for path in outputs.archive.folder.rglob("*"))
    told = report["files_written"] + sum(report["held_back"].values()) + report["files_skipped"]
    found = []
    if report["files_seen"] != total:
        found.append(f"{report['files_seen']} files seen of {total}")
    if told != total:
        found.append(f"{told} files accounted for of {total}")
    if report["files_written"] != len(outputs.paths):
        found.append(f"{report['files_written']} written, {len(outputs.paths)} found")
    found += [f"{path.suffix} file that is no DICOM" for path in outputs.strangers]
    return found
