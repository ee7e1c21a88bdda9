"""Which launchers there are, what goes with them, and the commands that one of them prints."""

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.launch.launcher import Launch, launch
from itm_harness.benchmarks.runs.sweep import Swept, combinations
from itm_tests.small_runs import SMALL
from itm_tests.trees import write_f30k


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"launcher": "prin"}, "unknown launcher 'prin'.*did you mean 'print'"),
        ({"launcher": "submitit", "gpus": ["0"]}, "--gpus is for --launcher local"),
        ({"gpus": ["0"], "device": "cpu"}, "leave out --device cpu"),
        ({"launcher": "print", "jobs": 2}, "--jobs is not for --launcher print"),
        ({"slurm": ["partition=gpu"]}, "--slurm partition=gpu is for --launcher submitit"),
        ({"launcher": "submitit", "slurm": ["gpu"]}, "--slurm gpu: write key=value"),
        ({"gpus": ["99"]}, "there is no GPU 99 here"),
    ],
)
def test_what_does_not_go_together_is_refused(how, said):
    with pytest.raises(RunError, match=said):
        Launch(**how)


def test_a_plain_run_stays_in_this_process():
    assert not Launch().elsewhere
    assert Launch(jobs=1).elsewhere
    assert Launch("submitit", slurm=["time=5", "comment=a=b"]).settings == {"time": "5", "comment": "a=b"}


def test_print_writes_the_commands_alone_to_standard_output(tmp_path, capsys, quiet):
    write_f30k(tmp_path / "data")
    options = RunOptions("", "", tmp_path / "data", overrides=dict(SMALL), output=tmp_path)
    assert launch(combinations(options, ["gpo", "hrem"], ["f30k"], []), [0, 1], Launch("print"), quiet) == Swept()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" --set")[0] for line in lines] == [
        f"itm run --method {method} --dataset f30k --seeds {seed}" for method in ("gpo", "hrem") for seed in (0, 1)
    ]
    assert not (tmp_path / "runs").exists()
