"""unittest, or pytest: each test on a mount of its own."""
import os
import pathlib
import subprocess
import tempfile
import unittest

SITE = pathlib.Path(__file__).parent.parent / "site"
LAYERFS = os.environ.get("LAYERFS", "layerfs").split()


class Site(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([*LAYERFS, "mount", "--lower", SITE, "--ephemeral", self.dir], check=True)

    def tearDown(self):
        subprocess.run([*LAYERFS, "umount", self.dir], check=True)
        self.dir.rmdir()

    def test_change(self):
        (self.dir / "index.html").write_text("changed\n")
        self.assertEqual((self.dir / "index.html").read_text(), "changed\n")

    def test_unchanged(self):
        self.assertEqual((self.dir / "index.html").read_text(), "<h1>Home</h1>\n")


if __name__ == "__main__":
    unittest.main()
