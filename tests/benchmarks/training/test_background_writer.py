"""Writes beside training: one after the other, waited for, and none of their errors is lost."""

from threading import Event, current_thread, main_thread

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.training.background_writer import BackgroundWriter


def test_it_writes_beside_the_caller_and_one_after_the_other():
    writer, let, written = BackgroundWriter(), Event(), []

    def first():
        assert current_thread() is not main_thread()
        assert let.wait(60)
        written.append("first")

    writer.start(first)
    assert written == []  # the caller went on
    let.set()
    writer.start(lambda: written.append("second"))
    assert written[0] == "first"  # a second one begins when the first is through
    writer.wait()
    assert written == ["first", "second"]
    writer.wait()  # nothing to wait for


def full():
    raise RunError("the disk is full")


def test_an_error_is_raised_where_the_writer_is_waited_for_next_and_once():
    writer, written = BackgroundWriter(), []
    writer.start(full)
    with pytest.raises(RunError, match="full"):
        writer.start(lambda: written.append("next"))
    writer.wait()
    assert written == []
    writer.start(full)
    with pytest.raises(RunError, match="full"):
        writer.wait()


def test_its_context_ends_when_all_is_written_whatever_ends_it():
    written, let = [], Event()

    def write():
        assert let.wait(60)
        written.append(1)

    def leave():
        with BackgroundWriter() as writer:
            writer.start(write)
            let.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert written == [1]


def test_its_context_raises_the_error_of_its_last_write():
    with pytest.raises(RunError, match="full"), BackgroundWriter() as writer:
        writer.start(full)
