#!/usr/bin/env python3
"""Plants violations and checks that include_scan.py finds each, and nothing in clean code."""
import os
import tempfile
import unittest

import include_scan

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ARROWS = {"proto": set(), "training": set(), "privacy": {"proto"},
          "site_agent": {"proto", "privacy", "training"}, "coordinator": {"proto", "privacy"},
          "tests": {"proto", "privacy", "site_agent"}}


def found(path, text):
    return list(include_scan.check_file(path, text, ARROWS))


class Arrows(unittest.TestCase):
    def test_are_read_from_the_build(self):
        with open(f"{ROOT}/deploy/cmake/ConsiliumModule.cmake", encoding="utf-8") as file:
            arrows = include_scan.read_arrows(file.read())
        self.assertEqual(arrows["training"], set())
        self.assertEqual(arrows["site_agent"], {"proto", "privacy", "training"})
        self.assertNotIn("site_agent", arrows["coordinator"])

    def test_a_build_without_arrows_is_an_error(self):
        with self.assertRaises(ValueError):
            include_scan.read_arrows("set(OTHER a b)")

    def test_wrong_way_is_caught(self):
        self.assertEqual(found("proto/base/x.cc", '#include "privacy/crypto/sha256.h"\n'),
                         ["proto/base/x.cc:1: proto/ may not include privacy/crypto/sha256.h"])
        self.assertTrue(found("coordinator/store/x.cc", '\n#include "site_agent/imaging/volume.h"\n'))
        self.assertTrue(found("training/x.cc", '#include "proto/base/ids.h"\n'))
        self.assertTrue(found("coordinator/x.cc", '#include <training/session.h>\n'))

    def test_right_way_is_quiet(self):
        self.assertEqual(found("site_agent/x.cc", '#include "training/session.h"\n'), [])
        self.assertEqual(found("privacy/x.cc", '#include <vector>\n#include "privacy/y.h"\n'), [])

    def test_support_is_for_tests_only(self):
        line = '#include "tests/support/sim_clock.h"\n'
        self.assertEqual(found("privacy/log/x_test.cc", line), [])
        self.assertTrue(found("privacy/log/x.cc", line))
        self.assertTrue(found("privacy/log/x_test.cc", '#include "tests/sim/world.h"\n'))


class Homes(unittest.TestCase):
    def test_each_library_away_from_home_is_caught(self):
        for path, header in (("site_agent/round/x.cc", "torch/torch.h"),
                             ("site_agent/round/x.cc", "ATen/ATen.h"),
                             ("training/session.h", "c10/util/Half.h"),
                             ("site_agent/imaging/x.h", "itkImage.h"),
                             ("coordinator/x.cc", "dcmtk/dcmdata/dctk.h"),
                             ("site_agent/intake/x.cc", "dcmtk/dcmdata/dctk.h"),
                             ("privacy/secagg/x.cc", "openssl/evp.h"),
                             ("coordinator/round/x.cc", "rocksdb/db.h"),
                             ("privacy/x.cc", "consilium/v1/model.pb.h"),
                             ("coordinator/round/x.cc", "grpcpp/grpcpp.h")):
            self.assertEqual(len(found(path, f"#include <{header}>\n")), 1, (path, header))

    def test_at_home_is_quiet(self):
        for path, header in (("training/models/x.h", "torch/nn.h"),
                             ("site_agent/imaging/x.cc", "itkImage.h"),
                             ("privacy/deid/x.cc", "dcmtk/dcmdata/dctk.h"),
                             ("site_agent/intake/x_test.cc", "dcmtk/dcmdata/dctk.h"),
                             ("tests/support/x.cc", "dcmtk/dcmdata/dctk.h"),
                             ("privacy/crypto/x.h", "openssl/evp.h"),
                             ("coordinator/store/x.cc", "rocksdb/db.h"),
                             ("coordinator/coordinator_main.cc", "grpcpp/grpcpp.h"),
                             ("site_agent/agent_options.h", "consilium/v1/config.pb.h")):
            self.assertEqual(found(path, f"#include <{header}>\n"), [], (path, header))


class Words(unittest.TestCase):
    def test_each_banned_word_is_caught_with_its_line(self):
        for code in ("absl::Now()", "std::this_thread::sleep_for(x)", "absl::SleepFor(x)",
                     "usleep(3)", "std::random_device seed", "std::chrono::system_clock::now()"):
            hits = found("coordinator/x.cc", f"\n{code};\n")
            self.assertEqual(len(hits), 1, code)
            self.assertTrue(hits[0].startswith("coordinator/x.cc:2:"), hits)

    def test_prose_text_and_allowed_places_are_quiet(self):
        self.assertEqual(found("coordinator/x.cc", "// never absl::Now()\n/* sleep(1)\n */\n"), [])
        self.assertEqual(found("coordinator/x.cc", 'Print("absl::Now()");\n'), [])
        self.assertEqual(found("proto/base/clock.cc", "absl::Now()\n"), [])
        self.assertEqual(found("coordinator/x_main.cc", "absl::Now()\n"), [])

    def test_a_comment_in_a_string_hides_no_code(self):
        self.assertTrue(found("coordinator/x.cc", 'f("https://x"); absl::Now();\n'))

    def test_names_that_say_nothing_are_caught(self):
        for path in ("proto/base/utils.h", "proto/string_util.cc", "privacy/common.h",
                     "coordinator/helpers.cc"):
            self.assertTrue(found(path, ""), path)
        self.assertEqual(found("privacy/dp/clip.h", ""), [])


class Lengths(unittest.TestCase):
    def test_only_much_too_long_fails(self):
        self.assertEqual(found("proto/x.cc", "\n" * 700), [])
        self.assertTrue(found("proto/x.cc", "\n" * 801))
        self.assertEqual(found("proto/x_test.cc", "\n" * 801), [])


class Tree(unittest.TestCase):
    def test_scan_walks_folders_and_skips_builds(self):
        with tempfile.TemporaryDirectory() as root:
            for path, text in (("deploy/cmake/ConsiliumModule.cmake",
                                'set(CONSILIUM_MAY_USE_proto "")\nset(CONSILIUM_MAY_USE_privacy proto)'),
                               ("proto/deep/er/x.cc", '#include "privacy/y.h"\n'),
                               ("proto/build-asan/x.cc", '#include "privacy/y.h"\n'),
                               ("privacy/y.h", "\n" * 650)):
                os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
                with open(f"{root}/{path}", "w", encoding="utf-8") as file:
                    file.write(text)
            violations, notes = include_scan.scan(root)
            self.assertEqual(violations,
                             ["proto/deep/er/x.cc:1: proto/ may not include privacy/y.h"])
            self.assertEqual(len(notes), 1)


if __name__ == "__main__":
    unittest.main()
