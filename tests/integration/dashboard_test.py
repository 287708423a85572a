#!/usr/bin/python3
"""The dashboard and the alert rules: expressions that Prometheus reads, of metrics that there are.

    dashboard_test.py [unittest arguments]
"""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"


def values(node, key):
    """Every value of `key` in a tree of JSON."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name == key and isinstance(child, str):
                yield child
            yield from values(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from values(child, key)


def dashboard_expressions():
    return list(values(json.loads((MONITORING / "grafana-dashboard.json").read_text()), "expr"))


class DashboardTest(unittest.TestCase):
    def test_every_expression_is_promql(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool (package prometheus) is not installed")
        expressions = dashboard_expressions()
        self.assertGreater(len(expressions), 10)
        rules = {"groups": [{"name": "dashboard", "rules": [
            {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "5m")}
            for number, text in enumerate(expressions)]}]}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(rules, file)  # JSON is YAML
            file.flush()
            done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True,
                                  text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_metric_is_one_of_the_coordinators(self):
        known = set(re.findall(r'"(consilium_\w+)"',
                               (ROOT / "coordinator/metrics/metrics.cc").read_text()))
        self.assertGreater(len(known), 10)
        text = "\n".join(dashboard_expressions()) + (MONITORING / "alerts.yaml").read_text()
        for name in sorted(set(re.findall(r"\bconsilium_\w+", text))):
            self.assertIn(re.sub(r"_(bucket|sum|count)$", "", name), known)


if __name__ == "__main__":
    unittest.main(verbosity=2)
