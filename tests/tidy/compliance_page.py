#!/usr/bin/env python3
"""Every command and every test that docs/compliance.md names has to exist.

    compliance_page.py ROOT

Looks at the text between backticks: a command line of one of our programs (each word of it is a literal
in that program's sources), Suite.Test (a gtest), test_name (a Python test), name (a ctest), a path. Prints what
is not there and exits with 1.
"""
import os
import re
import sys

PROGRAMS = {"consilium": ("coordinator/cli",), "consilium-audit": ("coordinator/audit",),
            "consilium-agent": ("site_agent",), "consilium-infer": ("site_agent",)}
PAGE = "docs/compliance.md"
# Words between backticks that are neither: fields of an entry and the like.
WORDS = {"actor", "role", "actor_key", "before", "after", "esign"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sources(root, folders, pattern):
    for folder in folders:
        for parent, names, files in os.walk(os.path.join(root, folder)):
            names[:] = [n for n in names if not n.startswith(("build", "."))]
            for name in sorted(files):
                if re.search(pattern, name):
                    yield os.path.join(parent, name)


def gtests(root):
    text = "\n".join(read(p) for p in sources(root, ("."), r"_test\.cc$"))
    return {f"{suite}.{name}" for suite, name in
            re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", text)}


def other_tests(root):
    cmake = "\n".join(read(p) for p in sources(root, ("tests", "deploy", "coordinator"),
                                               r"^CMakeLists\.txt$"))
    python = "\n".join(read(p) for p in sources(root, ("tests",), r"\.py$"))
    return set(re.findall(r"add_test\(NAME (\w+)", cmake)) | set(re.findall(r"def (test_\w+)", python))


def check_command(words, literals):
    """The first word that the program does not know, or None."""
    for word in words[1:]:
        if word.startswith("--"):
            word = word.split("=")[0]
        elif not re.fullmatch(r"[a-z][a-z-]*", word):
            return None  # an argument: a file, an index, a name
        if word not in literals:
            return word
    return None


def missing(root, text):
    known = gtests(root) | other_tests(root)
    literals = {}
    for program, folders in PROGRAMS.items():
        code = "\n".join(read(p) for p in sources(root, folders, r"(?<!_test)\.cc$"))
        literals[program] = set(re.findall(r'"((?:--)?[a-z][a-z-]*)"', code))
    for span in re.findall(r"`([^`\n]+)`", text):
        words = span.split()
        if words[0] in PROGRAMS:
            unknown = check_command(words, literals[words[0]])
            if unknown:
                yield f"`{span}`: {words[0]} has no `{unknown}`"
        elif re.fullmatch(r"[A-Z]\w+\.[A-Z]\w+", span):
            if span not in known:
                yield f"`{span}`: no such test"
        elif "/" in span:
            if not os.path.exists(os.path.join(root, span)):
                yield f"`{span}`: no such file"
        elif span not in known | WORDS:
            yield f"`{span}`: neither a test nor a command"


def main():
    root = sys.argv[1]
    faults = list(missing(root, read(os.path.join(root, PAGE))))
    # And the check can fail.
    planted = "`consilium audit frobnicate`, `NoTest.OfThisName`, `docs/none.md`, `no_such_test`"
    if len(list(missing(root, planted))) != 4:
        faults.append("the check does not see planted mistakes")
    for fault in faults:
        print(f"{PAGE}: {fault}")
    print(f"{len(faults)} mistakes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
