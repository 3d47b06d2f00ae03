import pytest

from sonoseg.data.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Ten small synthetic images, two of them without lesion."""
    folder = tmp_path_factory.mktemp("reproduction") / "phantoms"
    write_phantoms(folder, 10, seed=1, size=(128, 160))
    return folder


@pytest.fixture
def words(phantoms, tmp_path):
    """The command line of the smallest reproduction, but for its models."""
    return [
        *(
            "reproduce",
            "--data",
            str(phantoms),
            "--out",
            str(tmp_path / "out"),
            "--split",
            "grouped",
        ),
        *(
            "--encoder-weights",
            "none",
            "--size",
            "32",
            "--epochs",
            "1",
            "--batch",
            "4",
            "--explain",
            "1",
        ),
    ]
