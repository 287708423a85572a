#!/usr/bin/env python3
"""Checks the shape of the tree on its text: who includes whom, banned words, file lengths.

    include_scan.py ROOT

The arrows between folders are read from deploy/cmake/ConsiliumModule.cmake, which checks the same
on targets. Prints one line per violation and exits with 1 when there is one. A file that is
longer than is good, but not yet too long, is only mentioned.
"""
import argparse
import os
import re
import sys

# What of a heavy library's headers may be included where. The first pattern that matches the
# header decides; a file is right when one of the places matches its path.
TESTS = r"tests/"
EDGES = (r"proto/wire/", r"coordinator/(service|store|cli)/", r"site_agent/uplink/", r".*_main\.cc$",
         r".*_options\.(h|cc)$", TESTS)
HOMES = (
    ("LibTorch", r"(torch|ATen|c10)/", (r"training/(?!session\.h$)",)),
    ("ITK", r"itk\w*\.h", (r"site_agent/imaging/.*\.cc$", r"tests/bench/sample_bench\.cc$")),
    ("DCMTK", r"dcmtk/", (r"site_agent/imaging/.*\.cc$", r"privacy/deid/(?!deidentifier\.h$)",
                          r"site_agent/intake/.*_test\.cc$", r"site_agent/receive/.*\.cc$", TESTS)),
    ("OpenJPEG", r"openjpeg\.h", (r"privacy/deid/(jpeg2000_decode|test_jpeg2000)\.cc$",)),
    ("OpenSSL", r"openssl/", (r"privacy/crypto/", r"tests/bench/tls_floor\.cc$")),
    ("libharu", r"hpdf.*\.h", (r"coordinator/audit/pdf.*\.cc$",)),
    ("RocksDB", r"rocksdb/", (r"coordinator/store/",)),
    ("Prometheus", r"prometheus/", (r"coordinator/metrics/.*\.cc$",)),
    # One home for each side of the wall: site_agent may not use coordinator.
    ("cpp-httplib", r"httplib\.h", (r"coordinator/http/.*\.cc$", r"site_agent/dicomweb/.*\.cc$")),
    ("messages and gRPC", r"(consilium/v1/.*\.pb\.h|grpcpp/|grpc/)", EDGES),
)

# Words that make a test slow or a result unrepeatable, and where they are the point.
CLOCK = (r"proto/base/clock\.cc$", r".*_main\.cc$", r".*/test_\w+\.(h|cc)$")
BANNED = (
    (r"\babsl::Now\(", "take a Clock (proto/base/clock.h)", CLOCK),
    (r"\b(system_clock|steady_clock|high_resolution_clock)::now\(",
     "take a Clock (proto/base/clock.h)", CLOCK + (r"training/", r"tests/bench/", r".*_(bench|test)\.cc$")),
    # Not `driver.sleep(` or `options->sleep(`: an injected sleep is what a test can fake.
    (r"(?<!\.)(?<!->)\b(absl::SleepFor|sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(",
     "wait for an event, with a deadline of a Clock",
     # A real server's answer cannot be faked; these poll for it.
     (r".*_main\.cc$", r"site_agent/uplink/.*_test\.cc$",
      r"site_agent/receive/(test_peer|.*_test)\.cc$")),
    (r"\bstd::random_device\b", "take random bytes from privacy/crypto/random.h",
     (r"privacy/crypto/random\.cc$",)),
    (r"\bcatch \(\.\.\.\)", "catch what the library documents", (r"training/",)),
)
BANNED_FILES = re.compile(r"(^|.*[/_])(utils?|common|helpers?|misc)\.(h|cc)$")

LINES_GOOD = 600
LINES_MAX = 800
SOURCE = re.compile(r"\.(h|cc)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
TEST_FILE = re.compile(r"(_test|_fuzz|_bench)\.cc$|/testing/")


def read_arrows(cmake_text):
    """Folder -> set of folders it may use, from the CONSILIUM_MAY_USE_ lines."""
    arrows = {}
    for folder, uses in re.findall(r"set\(CONSILIUM_MAY_USE_(\w+)\s+([^)]*)\)", cmake_text):
        arrows[folder] = set(uses.replace('"', "").split())
    if not arrows:
        raise ValueError("no CONSILIUM_MAY_USE_ line found")
    return arrows


def without_comments_and_strings(text):
    """The code alone, line breaks kept, so that prose may name what code must not use."""
    def blank(match):
        kept = "\n" * match.group(0).count("\n")
        return kept if match.group(0).startswith("/") else '""' + kept
    pattern = r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def allowed(path, places):
    return any(re.match(place, path) for place in places)


def check_includes(path, text, arrows):
    folder = path.split("/")[0]
    for match in INCLUDE.finditer(text):
        header = match.group(2)
        where = f"{path}:{line_of(text, match.start(2))}"
        target = header.split("/")[0]
        if target in arrows and target != folder and "/" in header:
            # Tests may borrow matchers, clocks and phantoms; product code may not.
            borrowed = header.startswith("tests/support/") and TEST_FILE.search(path)
            # Generated messages live under consilium/, whatever folder their .proto is in.
            if target not in arrows.get(folder, set()) and not borrowed:
                yield f"{where}: {folder}/ may not include {header}"
        for library, pattern, places in HOMES:
            if re.match(pattern, header):
                if not allowed(path, places):
                    yield f"{where}: {library} ({header}) has no home here"
                break


def check_words(path, text):
    code = without_comments_and_strings(text)
    for pattern, advice, places in BANNED:
        if allowed(path, places):
            continue
        for match in re.finditer(pattern, code):
            yield f"{path}:{line_of(code, match.start())}: {match.group(0).strip()}: {advice}"


def check_file(path, text, arrows):
    """All violations in one file; `path` is relative to the root, with '/'."""
    if BANNED_FILES.match(path):
        yield f"{path}: say what is in it; a file of everything grows for ever"
    lines = text.count("\n")
    if lines > LINES_MAX and not TEST_FILE.search(path):
        yield f"{path}: {lines} lines, more than {LINES_MAX}"
    yield from check_includes(path, text, arrows)
    yield from check_words(path, text)


def source_files(root, folders):
    for folder in sorted(folders):
        for parent, names, files in os.walk(os.path.join(root, folder)):
            names[:] = sorted(n for n in names if not n.startswith(("build", ".")))
            for name in sorted(files):
                if SOURCE.search(name):
                    yield os.path.relpath(os.path.join(parent, name), root).replace(os.sep, "/")


def scan(root):
    """Returns (violations, notes) of the tree at `root`."""
    with open(os.path.join(root, "deploy/cmake/ConsiliumModule.cmake"), encoding="utf-8") as file:
        arrows = read_arrows(file.read())
    violations, notes = [], []
    for path in source_files(root, arrows):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        violations += check_file(path, text, arrows)
        lines = text.count("\n")
        if LINES_GOOD < lines <= LINES_MAX and not TEST_FILE.search(path):
            notes.append(f"{path}: {lines} lines; consider splitting above {LINES_GOOD}")
    return violations, notes


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="ROOT", help="the repository's root")
    violations, notes = scan(parser.parse_args().root)
    for note in notes:
        print("note:", note)
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
