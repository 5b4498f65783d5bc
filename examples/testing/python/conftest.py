"""For pytest: `site` is the fixture directory beneath a mount that is the test's own."""
import os
import pathlib
import subprocess

import pytest

SITE = pathlib.Path(__file__).parent.parent / "site"
LAYERFS = os.environ.get("LAYERFS", "layerfs").split()


@pytest.fixture
def site(tmp_path):
    subprocess.run([*LAYERFS, "mount", "--lower", SITE, "--ephemeral", tmp_path], check=True)
    yield tmp_path
    subprocess.run([*LAYERFS, "umount", tmp_path], check=True)
