"""Makes an archive of DICOM files, side-cars and a DICOMDIR with identifiers wherever they can hide.

Base files come from the corpus of real DICOM; patients, UIDs and dates are put in their place, and the
answer key says what was planted in which file. Files are told apart by InstanceNumber, which the
standard's table keeps.
"""
import dataclasses
import datetime
import io
import random
import subprocess
import zlib

import numpy
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import decode_data_sequence, encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

import deid_judge_glyphs as glyphs
from deid_judge_identity import patients

# (pattern below the corpus, how many of its files)
BASES = (
    ("ct/CT_small.dcm", 1), ("ct/series-3slice-tiny/*", 3), ("ct/series-3slice-ge/*", 2),
    ("ct/693_UNCR.dcm", 1), ("mr/series-hcrop-3/*", 6), ("mr/series-t1post-siemens/*", 4),
    ("mr/siemens-nih/*", 2), ("mr/IM-0001-0001.dcm", 1), ("mr/ge-4d-2vol/*", 3),
    ("ts/MR_small_implicit.dcm", 1), ("ts/MR_small_bigendian.dcm", 1), ("ts/MR_small_RLE.dcm", 1),
    ("ts/MR_small_jpeg_ls_lossless.dcm", 1), ("ts/MR_small_jp2klossless.dcm", 1),
    ("ts/CTImage_JPEGProcess14SV1*", 1), ("ts/CTImage_Deflated*", 1), ("ts/693_J2KR.dcm", 1),
    ("mr-enhanced/emri_small.dcm", 1), ("mr-enhanced/emri_small_jpeg_ls_lossless.dcm", 1),
    ("ct-enhanced/*", 2), ("pt/1.dcm", 1), ("seg/label.seg", 1), ("seg/liver.dcm", 1),
    ("seg/seg_image_ct_binary*", 3), ("seg/sparse-labelmap-ppv5.dcm", 1), ("rt/rtdose.dcm", 1),
    ("rt/rtplan.dcm", 1), ("rt/rtstruct.dcm", 1), ("generated/rt/rtstruct_hcrop.dcm", 1),
    ("sr/*", 4), ("generated/pdf/*", 1), ("generated/pr/*", 1), ("waveform/*", 1),
    ("rwv-pmap/*", 2), ("us/*", 4), ("cr-dx/*", 4), ("xa-nm/JPEG2000.dcm", 1), ("wsi/*", 1),
    ("ts/SC_rgb_jpeg_dcmtk.dcm", 1), ("ts/SC_rgb_rle_2frame.dcm", 1),
    ("overlay/examples_overlay.dcm", 1), ("dicomdir/DICOMDIR", 1),
)
JPEG_2000 = ["gdcmconv", "--j2k"]
LOSSY_JPEG_2000 = ["gdcmconv", "--lossy", "--j2k", "-r", "10", "--irreversible"]
# Base files into which a banner is drawn: path, the tool that decodes it, the one that encodes it
# again, and how many frames are made of it
BANNERS = (
    ("us/examples_rgb_color.dcm", None, None, 1), ("us/examples_palette.dcm", None, None, 1),
    ("us/examples_palette.dcm", None, ["dcmcrle"], 1), ("cr-dx/RG3_JPLY", ["dcmdjpeg"], None, 1),
    ("cr-dx/dx_image.dcm", None, None, 1),
    ("us/examples_rgb_color.dcm", None, ["dcmcjpeg", "+eb"], 1),
    ("mr/MR_small.dcm", None, None, 1), ("overlay/examples_overlay.dcm", None, None, 1),
    ("overlay/examples_overlay.dcm", None, ["dcmcjpeg"], 1),
    ("us/examples_rgb_color.dcm", None, JPEG_2000, 1),
    ("us/examples_rgb_color.dcm", None, LOSSY_JPEG_2000, 1),
    ("us/examples_rgb_color.dcm", None, JPEG_2000, 3),
    ("us/examples_palette.dcm", None, JPEG_2000, 1), ("cr-dx/dx_image.dcm", None, JPEG_2000, 1),
    ("cr-dx/RG3_JPLY", ["dcmdjpeg"], JPEG_2000, 1),
    ("overlay/examples_overlay.dcm", None, JPEG_2000, 1),
    ("overlay/examples_overlay.dcm", None, LOSSY_JPEG_2000, 1),
)
# Text attributes in no row of Table E.1-1 (or that a profile may keep): people write names there.
UNLISTED = ("ManufacturerModelName SoftwareVersions AcquisitionDeviceProcessingCode "
            "ContentLabel LUTExplanation PatientMotherBirthName ConvolutionKernel SequenceName "
            "FilterType ReceiveCoilName TransducerData DoseCalibrationFactor "
            "SegmentAlgorithmName DocumentTitle PositionReferenceIndicator").split()
IDENTITY_UIDS = "1.2.826.0.1.3680043.9.7777"


@dataclasses.dataclass
class Planted:
    """One DICOM file of the archive."""
    path: object
    patient: int
    key: int                 # its InstanceNumber
    secrets: dict = dataclasses.field(default_factory=dict)  # value -> what it is
    banner: object = None


@dataclasses.dataclass
class Archive:
    folder: object
    people: list
    files: list
    other_files: int = 0
    secrets: set = dataclasses.field(default_factory=set)    # of side-cars and names
    original: set = dataclasses.field(default_factory=set)   # what the base files said


def text_vr(keyword):
    tag = pydicom.datadict.tag_for_keyword(keyword)
    return tag is not None and pydicom.datadict.dictionary_VR(tag) in (
        "LO", "SH", "ST", "LT", "UT", "CS", "PN")


class Planter:
    def __init__(self, corpus, folder, seed):
        self.corpus, self.folder, self.rng = corpus, folder, random.Random(seed)
        self.archive = Archive(folder, patients(seed), [])
        self.uids = {}

    def uid(self, old):
        if old.startswith("1.2.840.10008.") or not old:
            return old
        if old not in self.uids:
            self.uids[old] = f"{IDENTITY_UIDS}.{self.rng.randrange(10 ** 14, 10 ** 15)}"
        return self.uids[old]

    def run(self):
        for pattern, count in BASES:
            who = self.rng.randrange(len(self.archive.people))
            for source in sorted(self.corpus.glob(pattern))[:count]:
                self.add(source, who)
        for name, decode, encode, frames in BANNERS:
            if (self.corpus / name).exists():
                self.add_banner(self.corpus / name, decode, encode, frames)
        self.side_cars()
        return self.archive

    # ---- one file -----------------------------------------------------------------------
    def read(self, source):
        dataset = pydicom.dcmread(source, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = (
                pydicom.uid.ImplicitVRLittleEndian if dataset.is_implicit_VR
                else ExplicitVRLittleEndian)
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "InstitutionName",
                        "ReferringPhysicianName", "StudyInstanceUID", "SOPInstanceUID",
                        "SeriesInstanceUID"):
            value = str(dataset.get(keyword, "") or "")
            # Some files name a maker where their hospital should be, or a number that says nothing.
            if len(value) >= 7 and len(set(value)) > 3 and \
                    value.lower() not in ("anonymized", "removed", "unknown") and \
                    not str(dataset.get("Manufacturer", "")).startswith(value):
                self.archive.original.add(value)
        dataset.decode()
        return dataset

    def add(self, source, who, banner=None):
        dataset = self.read(source)
        if "PixelData" not in dataset and source.name == "DICOMDIR":
            return self.add_dicomdir(dataset, who)
        self.write(dataset, source, who, banner)

    def write(self, dataset, source, who, banner):
        key = 10001 + len(self.archive.files)
        person = self.archive.people[who]
        place = self.folder / f"{person.family}_{person.mrn}" / person.accession[key % 3]
        place.mkdir(parents=True, exist_ok=True)
        planted = Planted(place / f"{person.given}-{key}.dcm", who, key, banner=banner)
        self.replace_uids(dataset)
        dataset.InstanceNumber = str(key)
        dataset.SpecificCharacterSet = person.charset
        self.identity(dataset, person, key)
        self.dates(dataset, person, key)
        self.descriptors(dataset, person)
        self.nested(dataset, person)
        self.private(dataset, person)
        self.unlisted(dataset, person)
        self.graphics(dataset, person)
        self.pixel_tail(dataset, person)
        self.carriers(dataset, person)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
        dataset.file_meta.SourceApplicationEntityTitle = person.station
        dataset.file_meta.PrivateInformationCreatorUID = self.uid("1.2.3.4")
        dataset.file_meta.PrivateInformation = person.mrn.encode() + b"\0"
        dataset.preamble = (b"MZ" + person.family.encode() + person.mrn.encode()).ljust(128, b"\0")
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, dataset, write_like_original=False)
        planted.path.write_bytes(self.behind_the_end(stream.getvalue(), dataset, person))
        planted.secrets = {secret: "identity" for secret in person.secrets()}
        planted.secrets[str(dataset.SOPInstanceUID)] = "uid"
        self.archive.files.append(planted)

    def replace_uids(self, dataset):
        def visit(_, element):
            if element.VR == "UI" and element.value:
                values = element.value
                element.value = ([self.uid(str(v)) for v in values]
                                 if element.VM > 1 else self.uid(str(values)))
        dataset.walk(visit)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            if not dataset.get(keyword):
                setattr(dataset, keyword, self.uid(f"none {self.rng.random()}"))

    @staticmethod
    def identity(dataset, person, key):
        dataset.PatientName, dataset.PatientID = person.name, person.mrn
        dataset.PatientBirthDate, dataset.PatientTelephoneNumbers = person.birth, person.phone
        dataset.PatientAddress, dataset.OtherPatientIDs = person.street, person.mrn + "X"
        dataset.PatientBirthName, dataset.PatientMotherBirthName = person.name, person.name
        dataset.AccessionNumber = person.accession[key % 3]
        dataset.ReferringPhysicianName = person.physician
        dataset.PerformingPhysicianName = person.physician
        dataset.NameOfPhysiciansReadingStudy = person.physician
        dataset.OperatorsName = person.operator
        dataset.InstitutionName, dataset.InstitutionAddress = person.hospital, person.street
        dataset.InstitutionalDepartmentName = person.hospital
        dataset.StationName, dataset.DeviceSerialNumber = person.station, person.serial
        dataset.StudyID = dataset.RequestedProcedureID = person.accession[key % 3]
        dataset.MedicalRecordLocator = person.mrn
        dataset.PatientReligiousPreference = person.family

    def dates(self, dataset, person, key):
        """Each study of a patient has its day; all of a patient's days lie within a year."""
        day = datetime.date(2016, 1, 1) + datetime.timedelta(person.first_day + key % 3 * 97)
        text = day.strftime("%Y%m%d")
        later = (day + datetime.timedelta(2)).strftime("%Y%m%d")

        def visit(_, element):
            if element.VR == "DA" and element.value and element.keyword != "PatientBirthDate":
                element.value = text
            if element.VR == "DT" and element.value:
                element.value = later + "101112"
        dataset.walk(visit)
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = text
        dataset.ContentDate = later
        dataset.StudyTime = dataset.ContentTime = "101112"

    @staticmethod
    def descriptors(dataset, person):
        dataset.StudyDescription = f"Brain of {person.family}, {person.phone}"
        dataset.SeriesDescription = f"T1 AX {person.given} {person.mrn}"
        dataset.ProtocolName = f"{person.family} protocol"
        dataset.ImageComments = f"{person.name.split('=')[0]} seen by {person.physician}"
        dataset.AdditionalPatientHistory = f"lives in {person.street}, {person.phone}"
        dataset.RequestedProcedureDescription = f"{person.operator} called {person.family}"

    @staticmethod
    def nested(dataset, person):
        deep, middle, outer, request, original = (Dataset() for _ in range(5))
        deep.PatientName, deep.PatientID = person.name, person.mrn
        deep.StudyDate, deep.InstitutionName = person.birth, person.hospital
        middle.CodeValue, middle.CodingSchemeDesignator = "121329", "DCM"
        middle.CodeMeaning = f"for {person.family} {person.given}"
        middle.PersonIdentificationCodeSequence = Sequence([deep])
        outer.CodeValue, outer.CodingSchemeDesignator = "P5-09051", "SRT"
        outer.CodeMeaning = f"MR of {person.family}"
        outer.EquivalentCodeSequence = Sequence([middle])
        request.ScheduledProcedureStepDescription = f"brain {person.family}"
        request.ScheduledProcedureStepID = request.RequestedProcedureID = person.accession[0]
        original.ModifyingSystem, original.ReasonForTheAttributeModification = person.hospital, "COERCE"
        original.ModifiedAttributesSequence = Sequence([deep])
        dataset.ProcedureCodeSequence = Sequence([outer])
        dataset.RequestAttributesSequence = Sequence([request])
        dataset.OriginalAttributesSequence = Sequence([original])

    @staticmethod
    def private(dataset, person):
        block = dataset.private_block(0x0029, "ACME HOSPITAL 1.0", create=True)
        block.add_new(0x01, "LO", person.family)
        block.add_new(0x02, "UN", f"owner={person.mrn}".encode().ljust(16, b" "))
        block.add_new(0x03, "OB", person.name.encode("utf-8").ljust(64, b"\0"))
        inner = Dataset()
        inner.PatientName = person.name
        block.add_new(0x04, "SQ", Sequence([inner]))
        # Blessed by the table of safe private attributes, but not when it holds what it must not.
        siemens = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        siemens.add_new(0x0C, "IS", "800")
        siemens.add_new(0x0D, "CS", person.family.upper().encode("ascii", "ignore").decode()[:16])

    def unlisted(self, dataset, person):
        for keyword in self.rng.sample([k for k in UNLISTED if text_vr(k)], 6):
            tag = pydicom.datadict.tag_for_keyword(keyword)
            vr = pydicom.datadict.dictionary_VR(tag)
            text = f"{person.family} {person.phone}"
            plain = text.encode("ascii", "ignore").decode()
            dataset.add_new(tag, vr, plain.upper()[:16] if vr == "CS" else plain[:16]
                            if vr == "SH" else text)

    @staticmethod
    def graphics(dataset, person):
        bitmap = numpy.zeros((32, 128), dtype=bool)
        glyphs.burn(bitmap, person.family, 4, 4, 1, True)
        packed = numpy.packbits(bitmap.ravel(), bitorder="little").tobytes()
        for element, vr, value in ((0x0010, "US", 32), (0x0011, "US", 128), (0x0040, "CS", "G"),
                                   (0x0050, "SS", [1, 1]), (0x0100, "US", 1), (0x0102, "US", 0),
                                   (0x0022, "LO", person.family), (0x1500, "LO", person.given),
                                   (0x4000, "LT", person.mrn), (0x3000, "OW", packed)):
            dataset.add_new((0x6000 << 16) | element, vr, value)
        dataset.add_new(0x50002500, "LO", f"curve {person.family}")
        icon = Dataset()
        icon.Rows = icon.Columns = 2
        icon.ImageComments = person.family
        dataset.IconImageSequence = Sequence([icon])

    @staticmethod
    def pixel_tail(dataset, person):
        if "PixelData" not in dataset:
            return
        text = f"tail of {person.family} {person.mrn}".encode()
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        if syntax in ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"):
            # A comment among the marker segments (ISO/IEC 15444-1 A.9.2), and behind the stream.
            comment = b"\xff\x64" + (4 + len(text)).to_bytes(2, "big") + b"\0\1" + text
            streams = [stream.replace(b"\xff\x90", comment + b"\xff\x90", 1) + text
                       for stream in decode_data_sequence(dataset.PixelData)]
            dataset.PixelData = encapsulate(streams)
        elif not dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.PixelData += text.ljust(64, b"\0")

    @staticmethod
    def carriers(dataset, person):
        for item in dataset.get("SegmentSequence", []):
            item.SegmentDescription = f"drawn for {person.family}"
            item.TrackingID = f"{person.mrn} lesion"
        for item in dataset.get("StructureSetROISequence", []):
            item.ROIDescription = f"{person.family} {person.phone}"
        for item in dataset.get("ContentSequence", []):
            if item.get("ValueType") == "TEXT":
                item.TextValue = f"{person.family} was seen by {person.physician}"
        if "EncapsulatedDocument" in dataset:
            page = f"BT ({person.family} {person.mrn}) Tj ET".encode("latin-1", "replace")
            stream = zlib.compress(page)
            document = (b"%PDF-1.4\n1 0 obj<</Length " + str(len(stream)).encode() +
                        b"/Filter/FlateDecode>>stream\n" + stream + b"\nendstream endobj\n%" +
                        person.mrn.encode() + b"\n%%EOF")
            dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
        for item in dataset.get("GraphicAnnotationSequence", []):
            for text in item.get("TextObjectSequence", []):
                text.UnformattedTextValue = f"{person.family} {person.mrn}"
        for group in dataset.get("WaveformAnnotationSequence", []):
            group.UnformattedTextValue = person.family

    @staticmethod
    def behind_the_end(data, dataset, person):
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_deflated:
            return data
        text = f"padding {person.family} {person.mrn}".encode()
        text += b" " * (len(text) % 2)
        length = len(text)
        if not syntax.is_little_endian:
            head = b"\xff\xfc\xff\xfcOB\0\0" + length.to_bytes(4, "big")
        elif syntax.is_implicit_VR:
            head = b"\xfc\xff\xfc\xff" + length.to_bytes(4, "little")
        else:
            head = b"\xfc\xff\xfc\xffOB\0\0" + length.to_bytes(4, "little")
        return data + head + text

    # ---- text in the picture -------------------------------------------------------------
    def through(self, tool, dataset):
        """`dataset` as one of DCMTK's tools writes it."""
        before, after = self.folder / "before", self.folder / "after"
        pydicom.dcmwrite(before, dataset, write_like_original=False)
        subprocess.run([*tool, before, after], check=True, capture_output=True)
        dataset = self.read(after)
        before.unlink()
        after.unlink()
        return dataset

    def add_banner(self, source, decode, encode, frames):
        who = self.rng.randrange(len(self.archive.people))
        dataset = self.read(source)
        person = self.archive.people[who]
        if decode:
            dataset = self.through(decode, dataset)
        dtype = numpy.dtype(f"u{dataset.BitsAllocated // 8}")
        samples = dataset.SamplesPerPixel
        shape = (dataset.Rows, dataset.Columns) + ((samples,) if samples > 1 else ())
        pixels = numpy.frombuffer(dataset.PixelData, dtype=dtype,
                                  count=int(numpy.prod(shape))).reshape(shape).copy()
        if samples > 1 and dataset.PlanarConfiguration == 1:
            pixels = pixels.reshape(samples, dataset.Rows, dataset.Columns).transpose(1, 2, 0).copy()
            dataset.PlanarConfiguration = 0
        letters = "".join(c for c in person.family if c.isascii())
        # The shade that stands out best from what lies there, in the values that the image has.
        top, here = int(pixels.max()), float(numpy.median(pixels[6:20, 4:140]))
        scale = 2 if dataset.Columns >= 200 else 1
        banner = glyphs.burn(pixels, f"{letters} {person.mrn}", 6, 4, scale,
                             top if top - here > here else 0)
        dataset.PixelData = pixels.tobytes() * frames + b"\0" * (pixels.nbytes * frames % 2)
        if frames > 1:
            dataset.NumberOfFrames = str(frames)
            dataset.SOPClassUID = pydicom.uid.UltrasoundMultiFrameImageStorage
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.BurnedInAnnotation = self.rng.choice(["NO", "YES"])
        if encode:
            dataset = self.through(encode, dataset)
        self.write(dataset, source, who, banner)

    # ---- what is no image -----------------------------------------------------------------
    def add_dicomdir(self, dataset, who):
        person = self.archive.people[who]
        for record in dataset.DirectoryRecordSequence:
            if record.DirectoryRecordType == "PATIENT":
                record.PatientName, record.PatientID = person.name.split("=")[0], person.mrn
        dataset.save_as(self.folder / "DICOMDIR")
        self.archive.other_files += 1

    def side_cars(self):
        for person in self.archive.people:
            home = self.folder / f"{person.family}_{person.mrn}"
            home.mkdir(parents=True, exist_ok=True)
            for name, text in (("report.txt", f"{person.name} {person.phone}"),
                               (f"{person.mrn}.json", f'{{"name": "{person.family}"}}'),
                               ("index.html", f"<p>{person.street}</p>")):
                (home / name).write_text(text)
                self.archive.other_files += 1
            self.archive.secrets |= person.secrets()
