"""layerfs run --over data -- pytest: without layerfs it would pass only once."""
import pathlib

GREETING = pathlib.Path(__file__).parent / "data" / "greeting.txt"


def test_it_is_replaced():
    assert GREETING.read_text() == "Moin\n"
    GREETING.write_text("Ahoi\n")
