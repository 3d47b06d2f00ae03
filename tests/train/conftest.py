import pytest

from sonoseg.data.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A folder of 24 small synthetic images."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 24, seed=1, size=(128, 160))
    return folder
