import json

import pytest

from sonoseg.errors import InputError
from sonoseg.files import write_json
from sonoseg.jobs import Failure
from sonoseg.reproduction.jobs import Job, in_order, jobs_in, parse_models, plan

RIVALS = ("swin-unet", "mrfe-cnn", "adu-net", "ddra-net", "dpnet")


def test_numbers_ranges_and_names_are_models_in_that_order_each_once():
    assert parse_models("3, 1-3,swin-unet,default") == (
        "model-3",
        "model-1",
        "model-2",
        "swin-unet",
        "default",
    )
    assert parse_models("model-7,sonoseg-1") == ("model-7", "sonoseg-1")


def test_all_are_the_twenty_the_five_and_the_network_inside():
    names = parse_models("all")
    assert names[:20] == tuple(f"model-{number}" for number in range(1, 21))
    assert names[20:] == (*RIVALS, "default")


@pytest.mark.parametrize(
    "words",
    [
        "21",
        "0-3",
        "swin",
        "5-3",
        "",
        "1,,2",
        "-1",
        "1-",
        "1-99999999999",
        "²",
        "9" * 5000,
    ],
)
def test_what_is_no_model_is_refused(words):
    with pytest.raises(InputError, match=r"no such model|names no model"):
        parse_models(words)


def test_the_network_inside_is_not_trained_again_for_each_seed():
    jobs = plan(("model-1", "default"), ("paper", "paper-clean"), (4, 5))
    assert len(jobs) == 6
    assert [job.name for job in jobs[:3]] == [
        "model-1-paper-4",
        "default-paper-4",
        "model-1-paper-5",
    ]


def test_a_split_in_a_file_gives_a_plain_folder(tmp_path):
    assert (
        Job("model-1", "some/where/fold.csv", 0).folder(tmp_path)
        == tmp_path / "runs" / "model-1-fold-0"
    )


def test_jobs_are_shown_split_by_split_in_the_catalog_s_order_each_once():
    jobs = [
        Job("default", "paper", 0),
        Job("dpnet", "paper", 0),
        Job("model-2", "paper", 1),
        Job("model-2", "paper", 0),
    ]
    shown = in_order([*jobs, *jobs, Job("model-10", "paper-clean", 0)])
    assert [job.name for job in shown] == [
        "model-2-paper-0", "model-2-paper-1", "dpnet-paper-0", "default-paper-0", "model-10-paper-clean-0",
    ]  # fmt: skip


def test_a_folder_holds_what_is_done_and_what_failed(tmp_path):
    assert jobs_in(tmp_path) == []
    done, failed, half = (
        Job(model, "paper", 0) for model in ("model-1", "model-2", "model-3")
    )
    for job in (done, half):
        job.folder(tmp_path).mkdir(parents=True)
    write_json(
        done.folder(tmp_path) / "result.json",
        {"model": "model-1", "split": "paper", "seed": 0, "epochs": 3},
    )
    (half.folder(tmp_path) / "result.json").write_text("{")
    failed.fail(tmp_path, Failure("no"))
    assert jobs_in(tmp_path) == [done, failed]


def test_half_a_result_is_none(tmp_path):
    job = Job("model-1", "paper", 0)
    job.folder(tmp_path).mkdir(parents=True)
    (job.folder(tmp_path) / "result.json").write_text('{"model":')
    assert job.result(tmp_path) is None


def test_a_failure_is_recorded_with_its_traceback(tmp_path):
    job = Job("model-1", "paper", 0)
    job.fail(tmp_path, Failure("no luck", "Traceback …"))
    assert job.failure(tmp_path) == "no luck"
    stored = json.loads((job.folder(tmp_path) / "failed.json").read_text())
    assert stored == {
        "model": "model-1",
        "split": "paper",
        "seed": 0,
        "reason": "no luck",
        "traceback": "Traceback …",
    }


@pytest.mark.parametrize("name", ["result.json", "failed.json"])
@pytest.mark.parametrize("copy", ["model-6-paper-0", "model-7-paper-1", "my copy"])
def test_a_copied_folder_is_no_other_job(tmp_path, name, copy):
    runs = tmp_path / "runs"
    for folder in ("model-7-paper-0", copy):
        (runs / folder).mkdir(parents=True)
        write_json(
            runs / folder / name, {"model": "model-7", "split": "paper", "seed": 0}
        )
    problem = f"{copy}: its {name} says model model-7, split paper, seed 0; remove"
    with pytest.raises(InputError, match=problem):
        jobs_in(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "names no model, split and seed"),
        ('{"model": "model-1", "seed": 0}', "names no model, split and seed"),
        (
            '{"model": "model-1", "split": "paper", "seed": []}',
            "names no model, split and seed",
        ),
        ('{"model": "model-99", "split": "paper", "seed": 0}', "no such model"),
    ],
)
def test_a_result_of_no_job_is_refused(tmp_path, content, problem):
    folder = tmp_path / "runs" / "model-99-paper-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    with pytest.raises(InputError, match=problem):
        jobs_in(tmp_path)
