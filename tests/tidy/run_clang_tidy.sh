#!/usr/bin/env bash
# Runs clang over the tree: clang-tidy by .clang-tidy, and a syntax pass with -Wthread-safety, which
# g++ ignores. Not over training/ and files that include ITK: no clang parses those headers.
#
#   tests/tidy/run_clang_tidy.sh [-p BUILD] [-j JOBS] [FILE...]
#
# BUILD (default build/check) is a configured build folder with compile_commands.json; generated
# headers have to be built. Without FILE, every .cc the build compiles. Exit code 1: findings.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/check
jobs=$(nproc)
while getopts p:j:h option; do
  case $option in
    p) build=$OPTARG ;;
    j) jobs=$OPTARG ;;
    h) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -f "$build/compile_commands.json" ] || {
  echo "run_clang_tidy: no compile_commands.json in $build" >&2
  exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compile commands of our own files as clang takes them: no ccache, no flags of g++ alone, and
# each file once.
python3 - "$root" "$build" "$work" "$@" <<'PY'
import json, os, re, shlex, sys
root, build, work, *wanted = sys.argv[1:]
wanted = {os.path.realpath(path) for path in wanted}
root = os.path.realpath(root)
chosen = {}
for entry in json.load(open(f"{build}/compile_commands.json", encoding="utf-8")):
    path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
    relative = os.path.relpath(path, root)
    if relative.startswith(("..", "training/", "build")) or not path.endswith(".cc"):
        continue
    if wanted and path not in wanted:
        continue
    if re.search(r'^\s*#\s*include\s*[<"](itk|torch/|ATen/|c10/)', open(path, encoding="utf-8").read(), re.M):
        continue
    words = shlex.split(entry["command"])
    while os.path.basename(words[0]) == "ccache":
        words = words[1:]
    words = [w for w in words[1:] if not w.startswith("-fsanitize")]
    command = ["clang++", "-Wno-unknown-warning-option", "-Wno-unused-command-line-argument", *words]
    chosen[path] = {"directory": entry["directory"], "file": path, "command": shlex.join(command)}
json.dump(list(chosen.values()), open(f"{work}/compile_commands.json", "w", encoding="utf-8"))
with open(f"{work}/files", "w", encoding="utf-8") as files, \
     open(f"{work}/syntax", "w", encoding="utf-8") as syntax:
    for path, entry in sorted(chosen.items()):
        files.write(path + "\0")
        words = shlex.split(entry["command"])
        if "-o" in words:
            at = words.index("-o")
            words = words[:at] + words[at + 2:]
        for flag in ("-MT", "-MF"):
            if flag in words:
                at = words.index(flag)
                words = words[:at] + words[at + 2:]
        words = [w for w in words if w not in ("-MD", "-c", "-Werror")]
        # -w first: the syntax pass is about thread annotations; other warnings are clang-tidy's.
        words += ["-fsyntax-only", "-Wno-everything", "-Wthread-safety", "-Werror=thread-safety"]
        syntax.write(f"cd {shlex.quote(entry['directory'])} && {shlex.join(words)}\0")
print(f"{len(chosen)} files")
PY
[ -s "$work/files" ] || { echo "run_clang_tidy: no file to check" >&2; exit 2; }

failed=0
echo "clang++ -Wthread-safety"
xargs -0 -P "$jobs" -n 1 bash -c <"$work/syntax" || failed=1
echo "clang-tidy"
xargs -0 -P "$jobs" -n 1 clang-tidy --quiet -p "$work" <"$work/files" 2> >(
  grep -v 'warnings generated\|Suppressed\|Use -header-filter' >&2) || failed=1
exit $failed
