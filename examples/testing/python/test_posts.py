"""pytest test_posts.py: conftest.py mounts."""


def names(directory):
    return sorted(file.name for file in directory.iterdir())


def test_a_post_can_be_added(site):
    (site / "posts" / "third.md").write_text("# Third\n")
    assert names(site / "posts") == ["first.md", "second.md", "third.md"]


def test_the_next_test_sees_nothing_of_it(site):
    assert names(site / "posts") == ["first.md", "second.md"]
